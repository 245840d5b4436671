// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "cuda/device/reduce.cuh"
#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/norm.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

constexpr int kNormThreads = 256;

// Calls use(column) for the pieces of the row that this thread owns.
template <int kWidth, class Use>
__device__ void ForOwn(int columns, const Use& use) {
  for (int i = Thread() * kWidth; i < columns; i += Threads() * kWidth) use(i);
}

// Copies the row to shared memory.
template <int kWidth>
__device__ void KeepRow(const float* x, int columns, float* row) {
  ForOwn<kWidth>(columns, [&](int i) { Store(row + i, Load<kWidth>(x + i)); });
}

// sum of term(x) over the row.
template <int kWidth, class Term>
__device__ float RowSum(const float* row, int columns, const Term& term) {
  float sum = 0;
  ForOwn<kWidth>(columns, [&](int i) {
    const Vector<float, kWidth> x = Load<kWidth>(row + i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum += term(x[j]);
  });
  return BlockSum(sum);
}

template <int kWidth, class Y>
__global__ void __launch_bounds__(kNormThreads) LayerNormKernel(LayerNormArgs<Y> args) {
  const RmsNormArgs<Y>& norm = args.norm;
  if (static_cast<int>(blockIdx.x) >= *norm.rows) return;
  const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(blockIdx.x) * norm.columns;
  const auto columns = static_cast<float>(norm.columns);
  float* const row = DynamicShared<float>();
  KeepRow<kWidth>(norm.x + first, norm.columns, row);

  const float mean = RowSum<kWidth>(row, norm.columns, [](float x) { return x; }) / columns;
  const float variance =
      RowSum<kWidth>(row, norm.columns, [mean](float x) { return (x - mean) * (x - mean); }) /
      columns;
  const float scale = 1.0F / sqrtf(variance + norm.epsilon);
  ForOwn<kWidth>(norm.columns, [&](int i) {
    const Vector<float, kWidth> x = Load<kWidth>(row + i);
    const Vector<float, kWidth> gain = Load<kWidth>(norm.gain + i);
    Vector<float, kWidth> y = Load<kWidth>(args.bias + i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) y[j] += (x[j] - mean) * scale * gain[j];
    Store(norm.y + first + i, FromFloat<Y>(y));
  });
}

template <int kWidth, class Y>
__global__ void __launch_bounds__(kNormThreads) RmsNormKernel(RmsNormArgs<Y> args) {
  if (static_cast<int>(blockIdx.x) >= *args.rows) return;
  const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(blockIdx.x) * args.columns;
  float* const row = DynamicShared<float>();
  KeepRow<kWidth>(args.x + first, args.columns, row);

  const float square = RowSum<kWidth>(row, args.columns, [](float x) { return x * x; }) /
                       static_cast<float>(args.columns);
  const float scale = 1.0F / sqrtf(square + args.epsilon);
  ForOwn<kWidth>(args.columns, [&](int i) {
    Vector<float, kWidth> y = Load<kWidth>(row + i);
    const Vector<float, kWidth> gain = Load<kWidth>(args.gain + i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) y[j] = y[j] * scale * gain[j];
    Store(args.y + first + i, FromFloat<Y>(y));
  });
}

// Calls launch(width, shape), width an integral_constant; nothing if there are no elements.
template <class Y, class LaunchWidth>
cudaError_t OverRows(const RmsNormArgs<Y>& args, const char* name, const LaunchWidth& launch) {
  if (args.row_capacity == 0 || args.columns == 0) return cudaSuccess;
  const int width = args.columns % 4 == 0 ? 4 : 1;
  const int pieces = args.columns / width;
  const int block = std::min(kNormThreads, (pieces + kWarpLanes - 1) / kWarpLanes * kWarpLanes);
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(args.row_capacity)),
                          .block = dim3(static_cast<unsigned>(block)),
                          .shared_bytes = static_cast<std::size_t>(args.columns) * sizeof(float),
                          .name = name};
  return width == 4 ? launch(std::integral_constant<int, 4>(), shape)
                    : launch(std::integral_constant<int, 1>(), shape);
}

}  // namespace

template <class Y>
cudaError_t LayerNorm(const LayerNormArgs<Y>& args, cudaStream_t stream) {
  return OverRows(args.norm, "layer_norm", [&](auto width, const LaunchShape& shape) {
    return Launch(&LayerNormKernel<width(), Y>, shape, stream, args);
  });
}

template <class Y>
cudaError_t RmsNorm(const RmsNormArgs<Y>& args, cudaStream_t stream) {
  return OverRows(args, "rms_norm", [&](auto width, const LaunchShape& shape) {
    return Launch(&RmsNormKernel<width(), Y>, shape, stream, args);
  });
}

template cudaError_t LayerNorm(const LayerNormArgs<float>&, cudaStream_t);
template cudaError_t LayerNorm(const LayerNormArgs<__nv_bfloat16>&, cudaStream_t);
template cudaError_t RmsNorm(const RmsNormArgs<float>&, cudaStream_t);
template cudaError_t RmsNorm(const RmsNormArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace codegen::cuda
