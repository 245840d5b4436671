// SPDX-License-Identifier: Apache-2.0
//
// Sums and maxima over the threads of a warp or of a block.
//
// The order of the additions depends on the number of threads alone, and every thread gets the same
// bits: in each step of the exchange two lanes add the same two numbers.
#ifndef CODEGEN_CUDA_DEVICE_REDUCE_CUH_
#define CODEGEN_CUDA_DEVICE_REDUCE_CUH_

#include <cmath>

#include "cuda/device/thread.cuh"

namespace codegen::cuda {

struct FoldSum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// NaN loses to every number.
struct FoldMax {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Folds the values of each group of kLanes neighbouring lanes (a power of two); all lanes of the
// group get the result. Requires: all lanes of the warp call it.
template <int kLanes = kWarpLanes, class T, class Fold>
__device__ inline T WarpFold(T value, Fold fold) {
  static_assert(kLanes <= kWarpLanes && (kLanes & (kLanes - 1)) == 0);
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2)
    value = fold(value, __shfl_xor_sync(kAllLanes, value, distance));
  return value;
}

template <int kLanes = kWarpLanes, class T>
__device__ inline T WarpSum(T value) {
  return WarpFold<kLanes>(value, FoldSum());
}

template <int kLanes = kWarpLanes>
__device__ inline float WarpMax(float value) {
  return WarpFold<kLanes>(value, FoldMax());
}

// The same over all threads of the block; fold(x, neutral) is x. Has two barriers, the second of
// which lets the next call use the same shared memory. Requires: all threads of the block call it.
template <class T, class Fold>
__device__ inline T BlockFold(T value, T neutral, Fold fold) {
  CODEGEN_SHARED(T, partial, kWarpLanes);
  value = WarpFold(value, fold);
  if (Lane() == 0) partial[Warp()] = value;
  __syncthreads();
  value = Lane() < Warps() ? partial[Lane()] : neutral;
  value = WarpFold(value, fold);
  __syncthreads();
  return value;
}

template <class T>
__device__ inline T BlockSum(T value) {
  return BlockFold(value, T{0}, FoldSum());
}

__device__ inline float BlockMax(float value) { return BlockFold(value, -INFINITY, FoldMax()); }

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_DEVICE_REDUCE_CUH_
