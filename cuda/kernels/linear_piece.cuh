// SPDX-License-Identifier: Apache-2.0
//
// A piece of weights, 16 bytes of one row (linear.h), and the f32 numbers in it.
//
// Unpack<W>(piece, quad) are numbers 4 quad to 4 quad + 3: of f32, bf16 and f16 the weights, of
// int8 and int4 their codes, for scales are applied to sums.
//
// Codes become f32 without the conversion of integers, which devices do at a quarter of the rate of
// other arithmetic: put into the lowest bits of a number whose unit in the last place is one, they
// are added to it, and what has to be taken away again is exact.
#ifndef CODEGEN_CUDA_KERNELS_LINEAR_PIECE_CUH_
#define CODEGEN_CUDA_KERNELS_LINEAR_PIECE_CUH_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/linear.h"

namespace codegen::cuda {

// Number 0 or 1 of the word. A bf16 is the upper half of an f32.
__device__ inline float UnpackHalf(__nv_bfloat16 /*type*/, std::uint32_t word, int half) {
  return __uint_as_float(half == 0 ? word << 16 : word & 0xFFFF0000U);
}
__device__ inline float UnpackHalf(__half /*type*/, std::uint32_t word, int half) {
  __half2 pair;
  memcpy(static_cast<void*>(&pair), &word, sizeof pair);
  return __half2float(half == 0 ? pair.x : pair.y);
}

// Whole words, since nvcc would give each 16-bit number a register of its own.
struct PieceWords {
  Vector<std::uint32_t, 4> words;

  __device__ std::uint32_t operator[](int i) const { return words[i]; }
};

template <class W>
struct WeightPiece : PieceWords {};

template <>
struct WeightPiece<Int4Word> : PieceWords {
  std::uint32_t scale;  // Int4Scale of the one group that all its inputs are in

  __device__ float Scale() const { return UnpackHalf(__half(), scale, 0); }
  __device__ float Minimum() const { return UnpackHalf(__half(), scale, 1); }
};

// 2^23 + q is the word 0x4B000000 | q; -128 <= q < 128 becomes 0 <= q + 128 < 256 first.
__device__ inline Vector<float, 4> UnpackInt8(std::uint32_t word) {
  const std::uint32_t raised = word ^ 0x80808080U;
  Vector<float, 4> q;
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint32_t bits = __byte_perm(raised, 0x4B000000U, 0x7440U | i);
    q[static_cast<int>(i)] = __uint_as_float(bits) - (0x1p23F + 128.0F);
  }
  return q;
}

// Input j of the word. 2^(23 - b) + q has q in bits b to b + 3, and so there is no need to shift
// for b <= 16; the upper half takes one shift, which all its codes share.
__device__ inline float UnpackInt4(std::uint32_t word, int j) {
  const bool upper = Int4Word::Bit(j) >= 16;
  const int bit = upper ? Int4Word::Bit(j) - 12 : Int4Word::Bit(j);
  const std::uint32_t shifted = upper ? word >> 12 : word;
  const std::uint32_t exponent = static_cast<std::uint32_t>(150 - bit) << 23;
  const std::uint32_t bits = (shifted & (0xFU << bit)) | exponent;
  return __uint_as_float(bits) - __uint_as_float(exponent);
}

template <class W>
__device__ inline float UnpackOne(const WeightPiece<W>& piece, int input) {
  if constexpr (kIsInt4<W>) {
    return UnpackInt4(piece[input / 8], input % 8);
  } else if constexpr (std::is_same_v<W, float>) {
    return __uint_as_float(piece[input]);
  } else {
    return UnpackHalf(W(), piece[input / 2], input % 2);
  }
}

template <class W>
__device__ inline Vector<float, 4> Unpack(const WeightPiece<W>& piece, int quad) {
  if constexpr (std::is_same_v<W, std::int8_t>) {
    return UnpackInt8(piece[quad]);
  } else {
    Vector<float, 4> numbers;
#pragma unroll
    for (int i = 0; i < 4; ++i) numbers[i] = UnpackOne(piece, 4 * quad + i);
    return numbers;
  }
}

// The weights as pieces: of row `output` those from output RowPieces(inputs) on. 32 bits hold the
// index of a piece of 32 GiB of weights, and take half the registers of an address.
template <class W>
class WeightPieces {
 public:
  template <class Args>
  __device__ explicit WeightPieces(const Args& args)
      : w_(reinterpret_cast<const std::uint32_t*>(args.w)),
        scales_(args.scales),
        pieces_(RowPieces<W>(args.inputs)),
        groups_((args.inputs + kInt4GroupInputs - 1) / kInt4GroupInputs) {}

  // Zeros beyond the end of the row; but a scale is there for all pieces of its group.
  __device__ WeightPiece<W> Load(int output, int piece) const {
    WeightPiece<W> loaded = {};
    if (piece < pieces_)
      loaded.words = LoadOnce(w_ + static_cast<std::ptrdiff_t>(output * pieces_ + piece) * 4);
    if constexpr (kIsInt4<W>) {
      const int group = piece / (kInt4GroupInputs / kPieceInputs<W>);
      const auto* const scales = reinterpret_cast<const std::uint32_t*>(scales_);
      if (group < groups_)
        loaded.scale = __ldg(scales + static_cast<std::ptrdiff_t>(output) * groups_ + group);
    }
    return loaded;
  }

 private:
  const std::uint32_t* w_;
  const ScaleOf<W>* scales_;
  int pieces_;
  int groups_;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_LINEAR_PIECE_CUH_
