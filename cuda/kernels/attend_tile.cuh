// SPDX-License-Identifier: Apache-2.0
//
// Attention of 16 query rows over a tile of keys, by one warp on its matrix units; what both
// attention kernels are made of.
//
//   scores = q kT              q [16, dim], keys [kKeys, dim] in shared memory, bf16
//   weights = exp2(scores log2(e) - running maximum)
//   o = o factor + weights v   values [kKeys, dim] in shared memory; o [16, dim] f32 in registers
//
// The scores come out of the first product in the lanes and words in which the second one takes its
// left factor (mma.cuh), so weights never leave registers; they are rounded to bf16 on the way.
// Lane l holds of rows l / 4 and l / 4 + 8 the columns 2 (l % 4) and the next of every 8.
//
// Tiles are as wide as the template says; heads narrower than that are filled up with zeros, which
// costs work but no traffic. Rows of a tile are 8 elements further apart than their width, so that
// eight consecutive ones begin in different banks.
//
// Keys that a row must not see have a score of -infinity and so a weight of 0; what is no token at
// all (the rest of a page) is zero in the tile, as 0 times a stale NaN would be NaN. Such keys
// change no bit of a row's state: its result depends on its own query and history only. (A value of
// a later row of the same sequence that is not finite does reach the rows before it within its
// tile.)
#ifndef CODEGEN_CUDA_KERNELS_ATTEND_TILE_CUH_
#define CODEGEN_CUDA_KERNELS_ATTEND_TILE_CUH_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cuda/device/copy.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/device/reduce.cuh"
#include "cuda/device/softmax_state.cuh"
#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/attend.h"

namespace codegen::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kPageTokens = backend::kPageTokens;

template <int kWidth>
inline constexpr int kPitch = kWidth + 8;

// Calls run(std::integral_constant<int, width>()) with the narrowest tile that holds heads of
// `dim`.
template <class Run>
cudaError_t WithWidth(int dim, const Run& run) {
  if (dim <= 0 || dim % 8 != 0 || dim > 256) return cudaErrorInvalidValue;
  if (dim <= 32) return run(std::integral_constant<int, 32>());
  if (dim <= 64) return run(std::integral_constant<int, 64>());
  if (dim <= 80) return run(std::integral_constant<int, 80>());
  if (dim <= 128) return run(std::integral_constant<int, 128>());
  return run(std::integral_constant<int, 256>());
}

// Two numbers in one word, the first in its low half.
__device__ inline std::uint32_t PackBf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t word;
  memcpy(&word, &pair, sizeof word);
  return word;
}

// Begins to copy rows [0, kRows) of `from`, `stride` elements apart and `dim` wide, into a tile, by
// `threads` threads of which this is number `thread`; rows from `exist` on become zeros.
template <int kWidth, int kRows>
__device__ void CopyTile(__nv_bfloat16* tile, const __nv_bfloat16* from, std::ptrdiff_t stride,
                         int dim, int exist, int thread, int threads) {
  constexpr int kPieces = kWidth / 8;
#pragma unroll 4
  for (int i = thread; i < kRows * kPieces; i += threads) {
    const int row = i / kPieces;
    const int d = i % kPieces * 8;
    const bool wanted = row < exist && d < dim;
    CopyAsync16(tile + row * kPitch<kWidth> + d, wanted ? from + row * stride + d : from, wanted);
  }
}

// The queries of a group, of one head.
template <int kWidth, int kRows>
__device__ void CopyQueries(__nv_bfloat16* tile, const AttendArgs& args, const RowGroup& group,
                            int head) {
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(args.heads) * args.dim;
  CopyTile<kWidth, kRows>(tile, args.q + group.row * stride + head * args.dim, stride, args.dim,
                          group.rows, Thread(), Threads());
}

// Page `index` of a sequence, of one head, by one warp: of `cache` the tokens that belong to the
// sequence, which ends at position `end`.
template <int kWidth>
__device__ void CopyPage(__nv_bfloat16* tile, const __nv_bfloat16* cache, const AttendArgs& args,
                         const RowGroup& group, int head, int index, int end) {
  const int exist = end - index * kPageTokens;
  const std::ptrdiff_t page = exist > 0 ? args.pages[group.first_page + index] : 0;
  CopyTile<kWidth, kPageTokens>(tile, cache + (page * args.heads + head) * kPageTokens * args.dim,
                                args.dim, args.dim, exist, Lane(), kWarpLanes);
}

// scores [16, kKeys] = q kT. The words of 8 keys are scores[key / 8].
template <int kWidth, int kKeys>
__device__ void Score(float (&scores)[kKeys / 8][4], const __nv_bfloat16* q,
                      const __nv_bfloat16* keys) {
#pragma unroll
  for (auto& words : scores) words[0] = words[1] = words[2] = words[3] = 0;
  const __nv_bfloat16* const left = q + Lane() % 16 * kPitch<kWidth> + Lane() / 16 * 8;
  const __nv_bfloat16* const right =
      keys + (Lane() % 8 + Lane() / 16 * 8) * kPitch<kWidth> + Lane() / 8 % 2 * 8;
#pragma unroll
  for (int d = 0; d < kWidth; d += 16) {
    std::uint32_t a[4];
    LoadMatrix4(a, left + d);
#pragma unroll
    for (int key = 0; key < kKeys; key += 16) {
      std::uint32_t b[4];
      LoadMatrix4(b, right + key * kPitch<kWidth> + d);
      const std::uint32_t first[2] = {b[0], b[1]};
      const std::uint32_t second[2] = {b[2], b[3]};
      MultiplyBf16(scores[key / 8], a, first);
      MultiplyBf16(scores[key / 8 + 1], a, second);
    }
  }
}

// Takes out what lies beyond a row: the tile begins at position `first_key`, row 0 of the warp
// stands at `position`.
template <int kKeys>
__device__ void MaskLater(float (&scores)[kKeys / 8][4], int first_key, int position) {
  const int key = first_key + Lane() % 4 * 2;
  const int row = position + Lane() / 4;
#pragma unroll
  for (int i = 0; i < kKeys / 8; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (key + 8 * i + j % 2 > row + j / 2 * 8) scores[i][j] = -INFINITY;
  }
}

// What a warp knows of its 16 rows. Of the two states, that of row l / 4 + 8 h of lane l is h;
// their maxima are those of the row, their sums go over the columns of the lane only.
template <int kWidth>
struct TileState {
  SoftmaxState rows[2];
  float o[kWidth / 8][4] = {};

  // Takes a tile of keys in: turns scores into weights, and adds the weighted values.
  template <int kKeys>
  __device__ void Add(float (&scores)[kKeys / 8][4], const __nv_bfloat16* values) {
    Weigh<kKeys>(scores);
#pragma unroll
    for (int key = 0; key < kKeys; key += 16)
      AddValues(scores[key / 8], scores[key / 8 + 1], values + key * kPitch<kWidth>);
  }

  template <int kKeys>
  __device__ void Weigh(float (&scores)[kKeys / 8][4]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float largest = -INFINITY;
#pragma unroll
      for (auto& words : scores) {
        words[2 * h] *= kLog2E;
        words[2 * h + 1] *= kLog2E;
        largest = fmaxf(largest, fmaxf(words[2 * h], words[2 * h + 1]));
      }
      const float factor = rows[h].Raise(WarpMax<4>(largest));
#pragma unroll
      for (auto& words : scores) {
        words[2 * h] = SoftmaxWeight(words[2 * h], rows[h].max);
        words[2 * h + 1] = SoftmaxWeight(words[2 * h + 1], rows[h].max);
        rows[h].sum += words[2 * h] + words[2 * h + 1];
      }
#pragma unroll
      for (auto& words : o) {
        words[2 * h] *= factor;
        words[2 * h + 1] *= factor;
      }
    }
  }

  // o += weights of 16 keys, in two times 8 columns, times their values.
  __device__ void AddValues(const float (&low)[4], const float (&high)[4],
                            const __nv_bfloat16* values) {
    const std::uint32_t a[4] = {PackBf16(low[0], low[1]), PackBf16(low[2], low[3]),
                                PackBf16(high[0], high[1]), PackBf16(high[2], high[3])};
    const __nv_bfloat16* const right = values + Lane() % 16 * kPitch<kWidth> + Lane() / 16 * 8;
#pragma unroll
    for (int d = 0; d < kWidth; d += 16) {
      std::uint32_t b[4];
      LoadMatrix4Transposed(b, right + d);
      const std::uint32_t first[2] = {b[0], b[1]};
      const std::uint32_t second[2] = {b[2], b[3]};
      MultiplyBf16(o[d / 8], a, first);
      MultiplyBf16(o[d / 8 + 1], a, second);
    }
  }

  // The sum of weights of row l / 4 + 8 h, over all columns.
  __device__ float Sum(int h) const { return WarpSum<4>(rows[h].sum); }
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_ATTEND_TILE_CUH_
