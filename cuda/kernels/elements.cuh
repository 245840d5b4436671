// SPDX-License-Identifier: Apache-2.0
//
// What the kernels share in which a thread owns some neighbouring elements of one row: embed,
// gather, swiglu and add.
//
// A thread owns 4 elements where the columns are a multiple of 4, else one: 16-byte accesses of
// f32, 8 of bf16, neighbouring threads side by side. A block of up to 256 threads owns a piece of a
// row; blockIdx.x is the row, blockIdx.y the piece, so that a single row, too, is spread over the
// multiprocessors. Rows at or beyond *rows do nothing.
//
//   template <int kWidth> __global__ void TwiceKernel(TwiceArgs args) {
//     const Place place = OwnPlace<kWidth>(*args.rows, args.columns);
//     if (place.outside) return;
//     ... Load<kWidth>(args.x + place.row * args.columns + place.column) ...
//   }
//   return OverElements({row_capacity, columns}, "twice", [&](auto width, const LaunchShape& shape)
//   {
//     return Launch(&TwiceKernel<width()>, shape, stream, args); });
#ifndef CODEGEN_CUDA_KERNELS_ELEMENTS_CUH_
#define CODEGEN_CUDA_KERNELS_ELEMENTS_CUH_

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "cuda/device/thread.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {

inline constexpr int kElementThreads = 256;

struct Place {
  std::ptrdiff_t row;
  int column;
  bool outside;
};

template <int kWidth>
__device__ inline Place OwnPlace(int rows, int columns) {
  const int row = static_cast<int>(blockIdx.x);
  const int column = (static_cast<int>(blockIdx.y) * Threads() + Thread()) * kWidth;
  return {row, column, row >= rows || column >= columns};
}

struct Extent {
  int rows;
  int columns;
};

// Calls launch(width, shape), width an integral_constant; nothing if there are no elements.
template <class LaunchWidth>
cudaError_t OverElements(const Extent& extent, const char* name, const LaunchWidth& launch) {
  if (extent.rows == 0 || extent.columns == 0) return cudaSuccess;
  const int width = extent.columns % 4 == 0 ? 4 : 1;
  const int threads = extent.columns / width;  // of a row
  const int block = std::min(kElementThreads, (threads + kWarpLanes - 1) / kWarpLanes * kWarpLanes);
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(extent.rows),
                                       static_cast<unsigned>((threads + block - 1) / block)),
                          .block = dim3(static_cast<unsigned>(block)),
                          .name = name};
  return width == 4 ? launch(std::integral_constant<int, 4>(), shape)
                    : launch(std::integral_constant<int, 1>(), shape);
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_ELEMENTS_CUH_
