// SPDX-License-Identifier: Apache-2.0
//
// gelu(v) = v (1 + tanh(z)) / 2 with z = sqrt(2/pi) (v + 0.044715 v^3), as backend/backend.h has
// it.
//
// (1 + tanh(z)) / 2 is 1 / (1 + exp(-2z)), which costs one exponential and does not cancel where
// tanh comes near -1. Of -infinity, and of nothing else but NaN, the result is NaN, as the formula
// says.
#ifndef CODEGEN_CUDA_DEVICE_GELU_CUH_
#define CODEGEN_CUDA_DEVICE_GELU_CUH_

#include <cmath>

#include "cuda/device/thread.cuh"

namespace codegen::cuda {

__device__ inline float Gelu(float v) {
  constexpr float kTwice = 1.5957691216F;  // 2 sqrt(2/pi)
  // Roundings are spelled out, so that all kernels give the same bits.
  const float z = v * fmaf(0.044715F, v * v, 1.0F);
  return v / (1.0F + expf(-kTwice * z));
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_DEVICE_GELU_CUH_
