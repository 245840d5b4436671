// SPDX-License-Identifier: Apache-2.0
//
// What changes from step to step, in memory of the device whose addresses do not: kernels read
// everything from here, so that a captured graph replays as it is.
//
// The host fills the same block in pinned memory, and one copy brings it over, as far as it is
// used: the list of pages, which is long and mostly empty, comes last. Where logits are changed a
// second copy brings how. The pinned block is the host's again when the step is done.
#ifndef CODEGEN_CUDA_STEP_ARRAYS_H_
#define CODEGEN_CUDA_STEP_ARRAYS_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "backend/rows.h"
#include "backend/sampling.h"
#include "backend/step.h"
#include "cuda/buffer.h"
#include "cuda/cuda_device.h"
#include "cuda/kernels/plan_splits.cuh"
#include "cuda/kernels/row_group.h"
#include "cuda/stream.h"

namespace codegen::cuda {

// The pointers to arrays of a block, in the order in which they lie there.
struct StepPointers {
  std::int32_t* rows;             // [1]
  std::int32_t* logit_row_count;  // [1]
  std::int32_t* decode_count;     // [1], of groups
  std::int32_t* prefill_count;    // [1]
  std::int32_t* tokens;           // [row capacity]
  std::int32_t* positions;        // [row capacity]
  std::int32_t* slots;            // [row capacity]: CacheSlot
  std::int32_t* logit_rows;       // [logit row capacity]
  RowGroup* decode;               // [row capacity]
  RowGroup* prefill;              // [row capacity]
  backend::Sampling* sampling;    // [logit row capacity], their changes among those below
  std::int32_t* pages;            // [page capacity]
  backend::LogitChange* changes;  // [logit row capacity, ChangesPerRow]
  std::size_t bytes;              // of the block
};

// How many there are in a step, or in outline of many steps how many there can be.
struct StepShape {
  int rows = 0;
  int logit_rows = 0;
  int decode_groups = 0;
  int prefill_groups = 0;
  bool all_decode = true;  // no sequence has more than kDecodeRows rows
};

// For one thread.
class StepArrays {
 public:
  // Errors: RESOURCE_EXHAUSTED.
  // With `one_attention` all groups are attend_prefill's, whatever their size.
  static absl::StatusOr<StepArrays> Create(const backend::StepLimits& limits, bool one_attention,
                                           MemoryBudget& budget);

  // Say what the next copy brings, each one kind of arrays. INTERNAL, of SetRows, if the step is
  // larger than the limits.
  absl::Status SetRows(const backend::Rows& rows);
  void SetTokens(std::span<const TokenId> tokens);
  void SetLogitRows(std::span<const std::int32_t> logit_rows);
  void SetSampling(std::span<const backend::Sampling> sampling);
  void SetCount(RowCount count, std::int64_t rows);

  absl::Status CopyIn(const Stream& stream) const;

  const StepShape& shape() const { return shape_; }

  // Memory of the device.
  const StepPointers& device() const { return device_pointers_; }
  const std::int32_t* count(RowCount count) const {
    return count == RowCount::kRows ? device_pointers_.rows : device_pointers_.logit_row_count;
  }

  // The most logits that change in a row: of tokens of the context, and of those with a bias.
  static std::int64_t ChangesPerRow(const backend::StepLimits& limits);

  // Buckets of rows are as large as this.
  static std::int64_t Capacity(std::int64_t rows);

 private:
  StepArrays(const backend::StepLimits& limits, bool one_attention, PinnedBuffer host,
             DeviceBuffer device);

  backend::StepLimits limits_;
  bool one_attention_;
  PinnedBuffer host_;
  DeviceBuffer device_;
  StepPointers host_pointers_;
  StepPointers device_pointers_;
  StepShape shape_;
  std::size_t pages_ = 0;    // in use
  std::size_t changes_ = 0;  // the same
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_STEP_ARRAYS_H_
