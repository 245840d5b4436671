// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <type_traits>

#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/embed.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

template <int kWidth, class T>
__device__ Vector<float, kWidth> LoadEmbedded(const EmbedArgs<T>& args, int token, int column) {
  const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(token) * args.columns + column;
  Vector<float, kWidth> x = ToFloat(Load<kWidth>(args.table.elements + offset));
  if constexpr (std::is_same_v<T, std::int8_t>) {
    const float scale = args.table.scales[token];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) x[i] *= scale;
  }
  return x;
}

template <int kWidth, class T>
__global__ void __launch_bounds__(kElementThreads) EmbedKernel(EmbedArgs<T> args) {
  const Place place = OwnPlace<kWidth>(*args.rows, args.columns);
  if (place.outside) return;
  const int token = args.tokens[place.row];
  Vector<float, kWidth> x{};
  if (token >= 0 && token < args.table_rows) x = LoadEmbedded<kWidth>(args, token, place.column);
  Store(args.y + place.row * args.columns + place.column, x);
}

}  // namespace

template <class T>
cudaError_t Embed(const EmbedArgs<T>& args, cudaStream_t stream) {
  return OverElements({args.row_capacity, args.columns}, "embed",
                      [&](auto width, const LaunchShape& shape) {
                        return Launch(&EmbedKernel<width(), T>, shape, stream, args);
                      });
}

template cudaError_t Embed(const EmbedArgs<float>&, cudaStream_t);
template cudaError_t Embed(const EmbedArgs<__nv_bfloat16>&, cudaStream_t);
template cudaError_t Embed(const EmbedArgs<__half>&, cudaStream_t);
template cudaError_t Embed(const EmbedArgs<std::int8_t>&, cudaStream_t);

}  // namespace codegen::cuda
