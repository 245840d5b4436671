// SPDX-License-Identifier: Apache-2.0
#include <cstddef>

#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/add.cuh"
#include "cuda/kernels/elements.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

template <int kWidth, class X>
__global__ void __launch_bounds__(kElementThreads) AddKernel(AddArgs<X> args) {
  const Place place = OwnPlace<kWidth>(*args.rows, args.columns);
  if (place.outside) return;
  const std::ptrdiff_t offset = place.row * args.columns + place.column;
  const Vector<float, kWidth> x = ToFloat(Load<kWidth>(args.x + offset));
  Vector<float, kWidth> y = Load<kWidth>(args.y + offset);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) y[i] += x[i];
  Store(args.y + offset, y);
}

}  // namespace

template <class X>
cudaError_t Add(const AddArgs<X>& args, cudaStream_t stream) {
  return OverElements({args.row_capacity, args.columns}, "add",
                      [&](auto width, const LaunchShape& shape) {
                        return Launch(&AddKernel<width(), X>, shape, stream, args);
                      });
}

template cudaError_t Add(const AddArgs<float>&, cudaStream_t);
template cudaError_t Add(const AddArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace codegen::cuda
