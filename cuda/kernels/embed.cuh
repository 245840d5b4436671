// SPDX-License-Identifier: Apache-2.0
//
// Embed: y[t] = table[token t], widened to f32.
//
//   table [table_rows, columns] f32, bf16, f16, or int8 with scales [table_rows] f32
//   tokens [rows] i32
//   y [rows, columns] f32
//
// A token outside the table embeds as zeros: what a step draws from logits that are no numbers is
// -1, and the next step may read it before any host has seen it.
//
// Geometry: elements.cuh. Bytes moved per row: sizeof(element) columns read, 4 columns written.
#ifndef CODEGEN_CUDA_KERNELS_EMBED_CUH_
#define CODEGEN_CUDA_KERNELS_EMBED_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace codegen::cuda {

template <class T>
struct EmbeddingTable {
  const T* elements;
};

template <>
struct EmbeddingTable<std::int8_t> {
  const std::int8_t* elements;
  const float* scales;
};

// Pointers are to memory of the device, aligned to 16 bytes.
template <class T>
struct EmbedArgs {
  EmbeddingTable<T> table;
  const std::int32_t* tokens;  // [row_capacity]
  float* y;
  const std::int32_t* rows;  // how many there are
  int row_capacity;          // how many there can be
  int table_rows;
  int columns;
};

// T: float, __nv_bfloat16, __half, std::int8_t.
template <class T>
cudaError_t Embed(const EmbedArgs<T>& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_EMBED_CUH_
