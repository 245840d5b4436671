// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/rotate_append.cuh"

#include <cmath>
#include <cstddef>

#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

constexpr int kRotateThreads = 256;
constexpr int kPiece = 8;

using Piece = Vector<float, kPiece>;
using backend::RotaryPairs;

// Eight elements from anywhere, in as few accesses as their alignment allows.
template <class T>
__device__ Piece LoadPiece(const T* x, bool aligned) {
  Piece piece;
  if (aligned) {
    constexpr int kWide = kWidest<T>;
#pragma unroll
    for (int i = 0; i < kPiece; i += kWide) {
      const Vector<float, kWide> wide = ToFloat(Load<kWide>(x + i));
#pragma unroll
      for (int j = 0; j < kWide; ++j) piece[i + j] = wide[j];
    }
  } else {
#pragma unroll
    for (int i = 0; i < kPiece; ++i) piece[i] = ToFloat(x[i]);
  }
  return piece;
}

// Turns element e, whose partner in the pair is `partner`; `second` of the pair or first.
__device__ float Turned(float e, float partner, bool second, float cosine, float sine) {
  return second ? e * cosine + partner * sine : e * cosine - partner * sine;
}

// Elements [d, d + 8) of a head, turned as pairs (2i, 2i + 1).
__device__ void TurnNeighbours(Piece& piece, int d, int rotary_dim, const float* turns) {
#pragma unroll
  for (int i = 0; i < kPiece; i += 2) {
    if (d + i >= rotary_dim) return;
    const Vector<float, 2> turn = Load<2>(turns + d + i);
    const float a = piece[i];
    const float b = piece[i + 1];
    piece[i] = Turned(a, b, false, turn[0], turn[1]);
    piece[i + 1] = Turned(b, a, true, turn[0], turn[1]);
  }
}

// The same as pairs (i, i + rotary_dim / 2).
template <class T>
__device__ void TurnHalves(Piece& piece, const T* head, int d, int rotary_dim, const float* turns) {
  const int half = rotary_dim / 2;
  if (half % kPiece == 0) {
    if (d >= rotary_dim) return;  // the piece lies in one half, and its partners in the other
    const bool second = d >= half;
    const int pair = second ? d - half : d;
    const Piece partners = LoadPiece(head + (second ? pair : pair + half), true);
    const Piece cosines = LoadPiece(turns + pair, true);
    const Piece sines = LoadPiece(turns + half + pair, true);
#pragma unroll
    for (int i = 0; i < kPiece; ++i)
      piece[i] = Turned(piece[i], partners[i], second, cosines[i], sines[i]);
    return;
  }
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    if (d + i >= rotary_dim) return;
    const bool second = d + i >= half;
    const int pair = second ? d + i - half : d + i;
    const float partner = ToFloat(head[second ? pair : pair + half]);
    piece[i] = Turned(piece[i], partner, second, turns[pair], turns[half + pair]);
  }
}

template <class T>
__device__ void Turn(Piece& piece, const T* head, int d, const backend::Heads& heads,
                     const float* turns) {
  if (heads.rotary_pairs == RotaryPairs::kInterleaved) {
    TurnNeighbours(piece, d, heads.rotary_dim, turns);
  } else {
    TurnHalves(piece, head, d, heads.rotary_dim, turns);
  }
}

// Where head `head` of the row's slot begins.
__device__ std::ptrdiff_t CacheOffset(int slot, int head, const backend::Heads& heads) {
  const std::ptrdiff_t page = slot / backend::kPageTokens;
  return ((page * heads.count + head) * backend::kPageTokens + slot % backend::kPageTokens) *
         heads.dim;
}

template <class T>
__global__ void __launch_bounds__(kRotateThreads)
    RotateAppendKernel(RotateAppendArgs<T> args, float scale) {
  const int row = static_cast<int>(blockIdx.x);
  if (row >= *args.rows) return;
  const backend::Heads& heads = args.heads;
  const int pieces = heads.dim / kPiece;
  const T* const x = args.x + static_cast<std::ptrdiff_t>(row) * 3 * heads.count * heads.dim;
  const float* const turns =
      args.turns + static_cast<std::ptrdiff_t>(args.positions[row]) * heads.rotary_dim;
  const int slot = args.slots[row];
  for (int i = Thread(); i < 3 * heads.count * pieces; i += kRotateThreads) {
    const int part = i / pieces / heads.count;  // q, k, v
    const int head = i / pieces % heads.count;
    const int d = i % pieces * kPiece;
    const T* const from = x + static_cast<std::ptrdiff_t>(i / pieces) * heads.dim;
    Piece piece = LoadPiece(from + d, true);
    if (part < 2) Turn(piece, from, d, heads, turns);
    if (part == 0) {
#pragma unroll
      for (int j = 0; j < kPiece; ++j) piece[j] *= scale;
    }
    __nv_bfloat16* const to =
        part == 0 ? args.q + (static_cast<std::ptrdiff_t>(row) * heads.count + head) * heads.dim
                  : (part == 1 ? args.keys : args.values) + CacheOffset(slot, head, heads);
    Store(to + d, FromFloat<__nv_bfloat16>(piece));
  }
}

}  // namespace

template <class T>
cudaError_t RotateAppend(const RotateAppendArgs<T>& args, cudaStream_t stream) {
  const backend::Heads& heads = args.heads;
  if (heads.dim % kPiece != 0 || heads.rotary_dim % 2 != 0 || heads.rotary_dim > heads.dim)
    return cudaErrorInvalidValue;
  if (args.row_capacity == 0) return cudaSuccess;
  const float scale = 1.0F / std::sqrt(static_cast<float>(heads.dim));
  return Launch(&RotateAppendKernel<T>,
                {.grid = dim3(static_cast<unsigned>(args.row_capacity)),
                 .block = dim3(kRotateThreads),
                 .name = "rotate_append"},
                stream, args, scale);
}

template cudaError_t RotateAppend(const RotateAppendArgs<float>&, cudaStream_t);
template cudaError_t RotateAppend(const RotateAppendArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace codegen::cuda
