// SPDX-License-Identifier: Apache-2.0
//
// Memory that operations of a step use among themselves.
#ifndef CODEGEN_CUDA_SCRATCH_H_
#define CODEGEN_CUDA_SCRATCH_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <cuda_bf16.h>

#include <cstdint>

#include "backend/sampling.h"
#include "backend/step.h"
#include "cuda/buffer.h"
#include "cuda/kernels/attend_decode.cuh"
#include "cuda/kernels/plan_splits.cuh"
#include "cuda/stream.h"

namespace codegen::cuda {

class Scratch {
 public:
  // For any step within the limits: splits and their partial results for as many decodes of whole
  // contexts as there are rows. RESOURCE_EXHAUSTED.
  static absl::StatusOr<Scratch> Create(const backend::StepLimits& limits, MemoryBudget& budget,
                                        const Stream& stream);

  // Whether heads of a layer fit.
  bool Takes(const backend::Heads& heads) const {
    return heads.count <= heads_.count && heads.count * heads.dim <= heads_.count * heads_.dim;
  }

  __nv_bfloat16* queries() const { return queries_.as<__nv_bfloat16>(); }
  SplitPlan plan() const {
    return {.splits = splits_.as<Split>(),
            .count = count_.as<std::int32_t>(),
            .ready = ready_.as<std::uint32_t>()};
  }
  PartialResults partial() const { return {.o = sums_.as<float>(), .state = states_.as<float2>()}; }
  // The most splits of a head in a step.
  int split_capacity() const { return split_capacity_; }

  // For each of a step's changes of logits, what stood there before.
  float* unchanged() const { return unchanged_.as<float>(); }

  // Sampled tokens, where the device writes them and where it copies them to.
  backend::SampledToken* sampled() const { return sampled_.as<backend::SampledToken>(); }
  std::span<backend::SampledToken> sampled_on_host() const {
    return sampled_on_host_.as<backend::SampledToken>();
  }

 private:
  Scratch() = default;

  backend::Heads heads_ = {};
  int split_capacity_ = 0;
  DeviceBuffer queries_;  // [rows, heads, dim]
  DeviceBuffer splits_, count_, ready_;
  DeviceBuffer sums_, states_;
  DeviceBuffer unchanged_;
  DeviceBuffer sampled_;
  PinnedBuffer sampled_on_host_;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_SCRATCH_H_
