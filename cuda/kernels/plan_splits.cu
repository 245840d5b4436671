// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/plan_splits.cuh"

#include "cuda/device/thread.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

constexpr int kPlanThreads = 256;

// Sums of `value` over the threads before this one, and over all.
struct Scan {
  int before;
  int total;
};

// Requires: all threads of the block call it. Ends in a barrier, so that it may be called again.
__device__ Scan BlockScan(int value) {
  CODEGEN_SHARED(int, sums, kPlanThreads / kWarpLanes);
  int up_to = value;
#pragma unroll
  for (int distance = 1; distance < kWarpLanes; distance *= 2) {
    const int below = __shfl_up_sync(kAllLanes, up_to, static_cast<unsigned>(distance));
    if (Lane() >= distance) up_to += below;
  }
  if (Lane() == kWarpLanes - 1) sums[Warp()] = up_to;
  __syncthreads();
  Scan scan{up_to - value, 0};
  for (int warp = 0; warp < Warps(); ++warp) {
    if (warp < Warp()) scan.before += sums[warp];
    scan.total += sums[warp];
  }
  __syncthreads();
  return scan;
}

__global__ void __launch_bounds__(kPlanThreads) PlanSplitsKernel(PlanSplitsArgs args) {
  const int groups = *args.count;
  for (int i = Thread(); i < groups * args.heads; i += kPlanThreads) args.plan.ready[i] = 0;
  int first_split = 0;
  int first_slot = 0;
  for (int first = 0; first < groups; first += kPlanThreads) {
    const int group = first + Thread();
    const bool exists = group < groups;
    const int splits = exists ? SplitsOf(args.groups[group]) : 0;
    const Scan split = BlockScan(splits);
    const Scan slot = BlockScan(exists ? SlotsOf(args.groups[group]) : 0);
    for (int i = 0; i < splits; ++i)
      args.plan.splits[first_split + split.before + i] = {group, i, splits,
                                                          first_slot + slot.before};
    first_split += split.total;
    first_slot += slot.total;
  }
  if (Thread() == 0) *args.plan.count = first_split;
}

}  // namespace

cudaError_t PlanSplits(const PlanSplitsArgs& args, cudaStream_t stream) {
  return Launch(&PlanSplitsKernel,
                {.grid = dim3(1), .block = dim3(kPlanThreads), .name = "plan_splits"}, stream,
                args);
}

}  // namespace codegen::cuda
