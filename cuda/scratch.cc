// SPDX-License-Identifier: Apache-2.0
#include "cuda/scratch.h"

#include <cuda_runtime_api.h>

#include "base/check.h"
#include "cuda/check.h"
#include "cuda/step_arrays.h"

namespace codegen::cuda {

absl::StatusOr<Scratch> Scratch::Create(const backend::StepLimits& limits, MemoryBudget& budget,
                                        const Stream& stream) {
  const std::int64_t rows = StepArrays::Capacity(limits.rows);
  const std::int64_t logit_rows = StepArrays::Capacity(limits.logit_rows);
  const std::int64_t splits = rows * ((limits.context + kSplitKeys - 1) / kSplitKeys);
  const std::int64_t heads = limits.heads.count;
  const std::int64_t width = heads * limits.heads.dim;
  const auto make = [&budget]<class T>(std::int64_t count, T) {
    return DeviceBuffer::Create(budget, count * std::int64_t{sizeof(T)});
  };
  Scratch scratch;
  scratch.heads_ = limits.heads;
  scratch.split_capacity_ = static_cast<int>(splits);
  CODEGEN_ASSIGN_OR_RETURN(scratch.queries_, make(rows * width, __nv_bfloat16{}));
  CODEGEN_ASSIGN_OR_RETURN(scratch.splits_, make(splits, Split{}));
  CODEGEN_ASSIGN_OR_RETURN(scratch.count_, make(1, std::int32_t{}));
  CODEGEN_ASSIGN_OR_RETURN(scratch.ready_, make(rows * heads, std::uint32_t{}));
  CODEGEN_ASSIGN_OR_RETURN(scratch.sums_, make(splits * width, float{}));
  CODEGEN_ASSIGN_OR_RETURN(scratch.states_, make(splits * heads, float2{}));
  CODEGEN_ASSIGN_OR_RETURN(scratch.unchanged_,
                           make(logit_rows * StepArrays::ChangesPerRow(limits), float{}));
  CODEGEN_ASSIGN_OR_RETURN(scratch.sampled_, make(logit_rows, backend::SampledToken{}));
  CODEGEN_ASSIGN_OR_RETURN(
      scratch.sampled_on_host_,
      PinnedBuffer::Create(logit_rows * std::int64_t{sizeof(backend::SampledToken)}));
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaMemsetAsync(scratch.ready_.data(), 0,
                            static_cast<std::size_t>(scratch.ready_.bytes()), stream.get()),
            "preparing attention on the GPU"));
  return scratch;
}

}  // namespace codegen::cuda
