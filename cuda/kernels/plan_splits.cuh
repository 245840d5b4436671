// SPDX-License-Identifier: Apache-2.0
//
// Planning a decode: cuts the keys of each row group into splits of 256 positions, the pieces of
// work of attend_decode, and lists them. One plan serves all layers of a step.
//
//   splits[i] = {group, index in the group, how many the group has, slot of its partial results}
//
// Splits begin at multiples of 256, so where a row's sums are cut depends on its own position and
// nothing else. Two or more splits of a group need a slot of partial results for each split and
// row; slots are given out one after the other.
//
// It runs on the device, from the lengths there, so that a captured graph replays as it is. One
// block: a thread lists the splits of a group, 256 groups at a time. Bytes moved: 16 per group and
// per split, 4 per group and head.
#ifndef CODEGEN_CUDA_KERNELS_PLAN_SPLITS_CUH_
#define CODEGEN_CUDA_KERNELS_PLAN_SPLITS_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/row_group.h"

namespace codegen::cuda {

// 128 KiB of keys and values of a head of 128 in bf16, against 0.5 KiB of partial results a row.
inline constexpr int kSplitKeys = 256;

struct alignas(16) Split {
  std::int32_t group;
  std::int32_t index;
  std::int32_t splits;
  std::int32_t slot;  // of row r: slot + index * rows of the group + r
};

// Memory of the device that the plan lives in.
struct SplitPlan {
  Split* splits;         // [split_capacity]
  std::int32_t* count;   // of splits
  std::uint32_t* ready;  // [group_capacity, heads]: how many splits have their partial results
};

// How many splits a group has, and how many slots they need; sums over the groups of a step are
// the least capacities that it needs.
__host__ __device__ inline int SplitsOf(const RowGroup& group) {
  return (group.position + group.rows + kSplitKeys - 1) / kSplitKeys;
}
__host__ __device__ inline int SlotsOf(const RowGroup& group) {
  return SplitsOf(group) > 1 ? SplitsOf(group) * group.rows : 0;
}

struct PlanSplitsArgs {
  const RowGroup* groups;     // [group_capacity]
  const std::int32_t* count;  // of groups
  SplitPlan plan;
  int heads;
};

cudaError_t PlanSplits(const PlanSplitsArgs& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_PLAN_SPLITS_CUH_
