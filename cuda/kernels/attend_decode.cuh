// SPDX-License-Identifier: Apache-2.0
//
// Attention of decoding: y[t] = softmax(q[t] kT) v over the positions up to that of t, for groups
// of 1 to 8 rows with any history behind them (flash-decoding, Dao et al. 2023).
//
// Shapes as in attend.h. A piece of work is a split (256 positions of a group, plan_splits.cuh) of
// one head; a block of 4 warps (2 for heads wider than 128) takes every gridDim.y-th split of its
// head. Warp w takes the pages w, w + warps, ... of the split, each through two stages of shared
// memory of its own, so that the warps stream without waiting for each other; their states are
// added in the order of warps. The rows are the upper half of a tile (attend_tile.cuh) whose lower
// half is zero: products wait for memory all the same, 16 operations a byte.
//
// A group of one split is done then. Of others each split leaves its sums in a slot of `partial`,
// and the block that finds itself the last to arrive adds them in the order of splits. So a row's
// result depends on its own query and history only: not on who arrives last, nor on the rows of
// its group, nor on the rest of the step.
//
// Bytes moved per group and head: 4 dim per position, 4 dim per row, and for groups of two or more
// splits 8 dim + 16 per row and split, all but the last in bf16.
//
// Shared memory, 3 blocks per multiprocessor of an H100: 72 KiB for heads of 128, 74 KiB for 256.
#ifndef CODEGEN_CUDA_KERNELS_ATTEND_DECODE_CUH_
#define CODEGEN_CUDA_KERNELS_ATTEND_DECODE_CUH_

#include <cuda_runtime.h>

#include "cuda/kernels/attend.h"
#include "cuda/kernels/plan_splits.cuh"

namespace codegen::cuda {

// Of a slot and head: sums of weighted values, and the state of their softmax.
struct PartialResults {
  float* o;       // [slot_capacity, heads, dim]
  float2* state;  // [slot_capacity, heads]: maximum, sum
};

struct AttendDecodeArgs {
  AttendArgs attend;  // groups of up to kDecodeRows
  SplitPlan plan;  // made by PlanSplits from these groups and heads; `ready` is 0 again afterwards
  PartialResults partial;
  int blocks_per_head;  // 1 or more, with the same results; more than there are splits are idle
};

// cudaErrorInvalidValue: dim is no multiple of 8, or above 256.
cudaError_t AttendDecode(const AttendDecodeArgs& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_ATTEND_DECODE_CUH_
