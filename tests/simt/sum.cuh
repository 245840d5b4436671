// SPDX-License-Identifier: Apache-2.0
//
// A demonstration of barriers and shuffles: sums [rows] f32 of the rows of x [rows, columns] f32.
//
// One block of up to 32 warps owns a row; each thread adds every Threads()-th element, each warp
// adds its threads' sums, and after a barrier every warp adds the warps' sums. 4 bytes are read for
// each addition. As a kernel of its own it is no use, BlockSum (cuda/device/reduce.cuh) does the
// same; this copy can be planted with mistakes.
#ifndef CODEGEN_TESTS_SIMT_SUM_CUH_
#define CODEGEN_TESTS_SIMT_SUM_CUH_

#include "cuda/device/reduce.cuh"
#include "cuda/device/thread.cuh"
#include "simt/plant.h"

namespace codegen::cuda {

template <Plant kPlant>
__device__ inline void WaitForPartials() {
  if constexpr (kPlant == Plant::kWarpSkipsBarrier) {
    if (Warp() == 0) return;
  }
  if constexpr (kPlant != Plant::kNoBarrierBeforeRead) __syncthreads();
}

template <Plant kPlant>
__device__ inline float OwnPartial(const float (&partial)[kWarpLanes]) {
  if constexpr (kPlant == Plant::kReadsUninitialised) return partial[Lane()];
  return Lane() < Warps() ? partial[Lane()] : 0.0F;
}

template <Plant kPlant>
__global__ void SumKernel(float* sums, const float* x, int columns) {
  CODEGEN_SHARED(float, partial, kWarpLanes);
  float sum = 0;
  for (int i = Thread(); i < columns; i += Threads())
    sum += x[static_cast<int>(blockIdx.x) * columns + i];
  sum = WarpSum(sum);

  // Through a pointer, so that no compiler sees the end of the array.
  float* const place = partial + (kPlant == Plant::kWritesBehindEnd ? kWarpLanes : 0);
  if (Lane() == 0) place[Warp()] = sum;
  WaitForPartials<kPlant>();
  sum = WarpSum(OwnPartial<kPlant>(partial));
  if (Thread() == 0) sums[blockIdx.x] = sum;
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_SIMT_SUM_CUH_
