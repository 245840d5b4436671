// SPDX-License-Identifier: Apache-2.0
//
// Gather: y[i] = x[indices[i]], rows of a matrix.
//
//   x [any, columns], y [rows, columns] f32 or bf16, both the same; no overlap
//   indices [rows] i32, each a row of x
//
// Geometry: elements.cuh. Bytes moved per row: sizeof(element) columns read, and as many written.
#ifndef CODEGEN_CUDA_KERNELS_GATHER_CUH_
#define CODEGEN_CUDA_KERNELS_GATHER_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace codegen::cuda {

// Pointers are to memory of the device, aligned to 16 bytes.
template <class T>
struct GatherArgs {
  const T* x;
  const std::int32_t* indices;  // [row_capacity]
  T* y;
  const std::int32_t* rows;  // of y: how many there are
  int row_capacity;          // how many there can be
  int columns;
};

// T: float, __nv_bfloat16.
template <class T>
cudaError_t Gather(const GatherArgs<T>& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_GATHER_CUH_
