// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a sum over the inputs, once it is complete; shared by the kernels of linear.h.
#ifndef CODEGEN_CUDA_KERNELS_LINEAR_FINISH_CUH_
#define CODEGEN_CUDA_KERNELS_LINEAR_FINISH_CUH_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cuda/device/gelu.cuh"
#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/linear.h"

namespace codegen::cuda {

// Roundings are spelled out, so that nvcc decides on none of them in one kernel otherwise than in
// another.
template <class W, class X, class Y>
__device__ void Finish(const LinearArgs<W, X, Y>& args, int row, int output, float sum) {
  float scale = 1;
  if constexpr (std::is_same_v<W, std::int8_t>) scale = args.scales[output];
  sum = fmaf(sum, scale, args.bias == nullptr ? 0.0F : args.bias[output]);
  Y& y = args.y[static_cast<std::ptrdiff_t>(row) * args.outputs + output];
  if (args.then == backend::Then::kAdd) sum += ToFloat(y);
  if (args.then == backend::Then::kGelu) sum = Gelu(sum);
  y = FromFloat<Y>(sum);
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_LINEAR_FINISH_CUH_
