// SPDX-License-Identifier: Apache-2.0
#include <cstddef>

#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/gather.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

template <int kWidth, class T>
__global__ void __launch_bounds__(kElementThreads) GatherKernel(GatherArgs<T> args) {
  const Place place = OwnPlace<kWidth>(*args.rows, args.columns);
  if (place.outside) return;
  const std::ptrdiff_t from = args.indices[place.row];
  Store(args.y + place.row * args.columns + place.column,
        Load<kWidth>(args.x + from * args.columns + place.column));
}

}  // namespace

template <class T>
cudaError_t Gather(const GatherArgs<T>& args, cudaStream_t stream) {
  return OverElements({args.row_capacity, args.columns}, "gather",
                      [&](auto width, const LaunchShape& shape) {
                        return Launch(&GatherKernel<width(), T>, shape, stream, args);
                      });
}

template cudaError_t Gather(const GatherArgs<float>&, cudaStream_t);
template cudaError_t Gather(const GatherArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace codegen::cuda
