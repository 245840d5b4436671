// SPDX-License-Identifier: Apache-2.0
//
// SwiGlu: y[t, f] = silu(x[t, f]) x[t, F + f] with silu(v) = v / (1 + exp(-v)).
//
//   x [rows, 2 columns]: F = columns gates, then as many values; y [rows, columns]; each f32 or
//   bf16, no overlap
//
// In f32, rounded once. Geometry: elements.cuh. Bytes moved per row: 2 sizeof(x) columns read,
// sizeof(y) columns written.
#ifndef CODEGEN_CUDA_KERNELS_SWIGLU_CUH_
#define CODEGEN_CUDA_KERNELS_SWIGLU_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace codegen::cuda {

// Pointers are to memory of the device, aligned to 16 bytes.
template <class X, class Y>
struct SwiGluArgs {
  const X* x;
  Y* y;
  const std::int32_t* rows;  // how many there are
  int row_capacity;          // how many there can be
  int columns;               // of y
};

// X, Y: float, __nv_bfloat16.
template <class X, class Y>
cudaError_t SwiGlu(const SwiGluArgs<X, Y>& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_SWIGLU_CUH_
