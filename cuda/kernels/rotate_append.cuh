// SPDX-License-Identifier: Apache-2.0
//
// What attention does to a row before it attends: rotates queries and keys by their position (Su et
// al. 2021), scales queries, and enters keys and values into their pages.
//
//   x [rows, q,k,v, heads, dim] f32 or bf16
//   q [rows, heads, dim] bf16              = rotate(x q) / sqrt(dim)
//   keys [page][head][16][dim] bf16        = rotate(x k), at slots[row]
//   values [page][head][16][dim] bf16      = x v, at slots[row]
//   rotate: for each pair (a, b) of the first rotary_dim elements of a head (a cosine - b sine,
//           b cosine + a sine); the elements from there on stay
//
// The angles are those of turns [positions, rotary_dim] f32: cosines and sines of rotary_dim / 2
// pairs, next to each other as the pairs are, so (cosine, sine) for kInterleaved, all cosines and
// then all sines for kHalves. All arithmetic in f32, one rounding at the end.
//
// A block owns a row, a thread every 256th piece of 8 elements of it. Rows at or beyond *rows do
// nothing. Bytes moved per row, in bf16: 6 heads dim read and 6 heads dim written; the turns
// (4 rotary_dim) come from the first-level cache after the first head.
#ifndef CODEGEN_CUDA_KERNELS_ROTATE_APPEND_CUH_
#define CODEGEN_CUDA_KERNELS_ROTATE_APPEND_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "backend/backend.h"

namespace codegen::cuda {

// Pointers are to memory of the device, aligned to 16 bytes.
template <class T>
struct RotateAppendArgs {
  const T* x;
  __nv_bfloat16* q;
  __nv_bfloat16* keys;
  __nv_bfloat16* values;
  const float* turns;
  const std::int32_t* positions;  // [row_capacity]
  const std::int32_t* slots;      // [row_capacity]: page * 16 + place in it (CacheSlot)
  const std::int32_t* rows;       // how many there are
  int row_capacity;               // how many there can be
  backend::Heads heads;
};

// cudaErrorInvalidValue: dim is no multiple of 8, or rotary_dim odd or above it. T: float,
// __nv_bfloat16.
template <class T>
cudaError_t RotateAppend(const RotateAppendArgs<T>& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_ROTATE_APPEND_CUH_
