// SPDX-License-Identifier: Apache-2.0
//
// Add: y += x, the residual connection.
//
//   x [rows, columns] f32 or bf16; y [rows, columns] f32; no overlap
//
// Geometry: elements.cuh. Bytes moved per row: sizeof(x) columns and 4 columns read, 4 columns
// written.
#ifndef CODEGEN_CUDA_KERNELS_ADD_CUH_
#define CODEGEN_CUDA_KERNELS_ADD_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace codegen::cuda {

// Pointers are to memory of the device, aligned to 16 bytes.
template <class X>
struct AddArgs {
  const X* x;
  float* y;
  const std::int32_t* rows;  // how many there are
  int row_capacity;          // how many there can be
  int columns;
};

// X: float, __nv_bfloat16.
template <class X>
cudaError_t Add(const AddArgs<X>& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_ADD_CUH_
