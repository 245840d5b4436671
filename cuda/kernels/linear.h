// SPDX-License-Identifier: Apache-2.0
//
// How weights lie in the memory of a device, and what the kernels that multiply by them are told.
//
//   p = x wT (+ bias), then y = p, y += p or y = gelu(p)
//
//   x [rows, inputs], y [rows, outputs], bias [outputs] f32, w [outputs, inputs]; inputs are a
//   multiple of 8, outputs are any number
//
// A row of w is its inputs one after the other, filled up to a multiple of 16 bytes, so that 16
// bytes, a piece, are the widest load of a thread and the smallest unit of all kernels. What fills
// up may be anything: only int8 and int4 rows need it, it meets an x of zero, and none of their
// codes stands for NaN. Beside the codes lie the scales (quant/format.h):
//
//   f32, bf16, f16   nothing
//   int8             [outputs] f32:            w = q scale
//   int4             [outputs, groups] Int4Scale: w = q scale + minimum, groups of 128 inputs
//
// Eight neighbouring int4 codes lie in a word, those of even inputs in its lower half and those of
// odd inputs in its upper half: one mask takes a pair out of it that is already where the two
// 16-bit halves of a factor of the matrix units have to be.
#ifndef CODEGEN_CUDA_KERNELS_LINEAR_H_
#define CODEGEN_CUDA_KERNELS_LINEAR_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "backend/backend.h"

namespace codegen::cuda {

inline constexpr int kInt4GroupInputs = 128;  // quant::kInt4Group

// Inputs 8 i to 8 i + 7 of a row of int4: input 8 i + j in bits [Bit(j), Bit(j) + 4).
struct Int4Word {
  std::uint32_t codes;

  __host__ __device__ static constexpr int Bit(int j) { return j % 2 * 16 + j / 2 * 4; }
};

struct Int4Scale {
  __half scale;
  __half minimum;
};

// W is one of float, __nv_bfloat16, __half, std::int8_t and Int4Word.
template <class W>
inline constexpr bool kIsInt4 = std::is_same_v<W, Int4Word>;

template <class W>
using ScaleOf = std::conditional_t<kIsInt4<W>, Int4Scale, float>;

inline constexpr int kPieceBytes = 16;

// The inputs of a piece.
template <class W>
inline constexpr int kPieceInputs = kPieceBytes / static_cast<int>(sizeof(W)) *
                                    (kIsInt4<W> ? 8 : 1);

// The pieces of a row.
template <class W>
__host__ __device__ constexpr int RowPieces(int inputs) {
  return (inputs + kPieceInputs<W> - 1) / kPieceInputs<W>;
}

// Rows at or beyond *rows - rows_before are neither read nor written. Pointers are to memory of the
// device, aligned to 16 bytes; y is apart from the others. X, Y: float, __nv_bfloat16.
template <class W, class X, class Y>
struct LinearArgs {
  const X* x;
  const W* w;
  const ScaleOf<W>* scales;  // ignored where the format has none
  const float* bias;         // null: none
  Y* y;
  const std::int32_t* rows;  // how many there are
  int rows_before;           // of these, how many come before x and y
  int row_capacity;          // how many there can be in x and y
  int inputs;
  int outputs;
  backend::Then then;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_LINEAR_H_
