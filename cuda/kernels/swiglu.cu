// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/swiglu.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

// exp(-v) is infinite for v below -88, and the quotient -0, which is what it should be.
__device__ float Silu(float v) { return v / (1.0F + expf(-v)); }

template <int kWidth, class X, class Y>
__global__ void __launch_bounds__(kElementThreads) SwiGluKernel(SwiGluArgs<X, Y> args) {
  const Place place = OwnPlace<kWidth>(*args.rows, args.columns);
  if (place.outside) return;
  const X* const x = args.x + place.row * 2 * args.columns + place.column;
  const Vector<float, kWidth> gate = ToFloat(Load<kWidth>(x));
  Vector<float, kWidth> y = ToFloat(Load<kWidth>(x + args.columns));
#pragma unroll
  for (int i = 0; i < kWidth; ++i) y[i] *= Silu(gate[i]);
  Store(args.y + place.row * args.columns + place.column, FromFloat<Y>(y));
}

}  // namespace

template <class X, class Y>
cudaError_t SwiGlu(const SwiGluArgs<X, Y>& args, cudaStream_t stream) {
  return OverElements({args.row_capacity, args.columns}, "swiglu",
                      [&](auto width, const LaunchShape& shape) {
                        return Launch(&SwiGluKernel<width(), X, Y>, shape, stream, args);
                      });
}

template cudaError_t SwiGlu(const SwiGluArgs<float, float>&, cudaStream_t);
template cudaError_t SwiGlu(const SwiGluArgs<float, __nv_bfloat16>&, cudaStream_t);
template cudaError_t SwiGlu(const SwiGluArgs<__nv_bfloat16, float>&, cudaStream_t);
template cudaError_t SwiGlu(const SwiGluArgs<__nv_bfloat16, __nv_bfloat16>&, cudaStream_t);

}  // namespace codegen::cuda
