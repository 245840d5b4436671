// SPDX-License-Identifier: Apache-2.0
//
// The products of attention over a bf16 cache in AMX tiles: 16 lines of a page of keys, two dims by
// 16 positions each, are a tile; so are the 8 lines of a page of values beside 16 dims, two
// positions by 16 dims each (kernels.h has the layout). Up to 16 rows of queries, or of weights,
// are multiplied with either at once.
//
// A sum takes 32 dims, or 16 positions, at a time, the even and the odd ones each in a chain from
// zero, whose sum is then added; denormals taken as zero: the same for any number of rows.
//
// Few rows wait for memory: beside each tile of a page they ask for that of a page of the next
// block. Figures are in attention.cc; without asking, 16 sequences of 512 positions take 1,660
// microseconds instead of 1,250.
//
// `Instructions` is AmxTiles, or in tests what stands for it.
#ifndef CODEGEN_CPU_ATTENTION_AMX_H_
#define CODEGEN_CPU_ATTENTION_AMX_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend/rows.h"
#include "cpu/tile_config.h"

namespace codegen::cpu {

template <class Instructions>
class AmxAttention {
 public:
  // For 1 to 16 rows; what the tiles hold is lost. Until Instructions::Release.
  static void Configure(int rows) {
    TileConfig config;
    std::fill_n(config.rows.begin(), kLineTile, static_cast<std::uint8_t>(rows));
    std::fill_n(config.row_bytes.begin(), kTiles, std::uint16_t{kTileRowBytes});
    config.rows[kLineTile] = kTileHeight;
    config.rows[kHalfLineTile] = kTileHeight / 2;
    config.row_bytes[kHalfRowTile] = kTileRowBytes / 2;
    Instructions::Configure(config);
  }

  // scores[row][page][16] = q[row] . keys[page], for `pages` <= 4; meanwhile asks for next[page],
  // if that is not null.
  // q: bf16 [rows, dim], q_stride bytes from row to row; dim: a multiple of 16.
  // scores: f32, score_stride bytes from row to row.
  static void Score(const std::byte* q, std::int64_t q_stride, const std::byte* const* keys,
                    const std::byte* const* next, int pages, std::int64_t dim, std::byte* scores,
                    std::int64_t score_stride) {
    WithCount(pages, [&]<int kPages>() {
      ForEachTile<kPages>([]<int page>() { Instructions::template Zero<page>(); });
      std::int64_t d = 0;
      for (; d + kStepDims <= dim; d += kStepDims) {
        Instructions::template Load<kRowTile>(q + d * kElementBytes, q_stride);
        ForEachTile<kPages>([&]<int page>() {
          const std::int64_t at = d / 2 * kTileRowBytes;
          if (next != nullptr) Prefetch<kTileHeight>(next[page] + at, kTileRowBytes);
          Instructions::template Load<kLineTile>(keys[page] + at, kTileRowBytes);
          Instructions::template AddBf16Product<page, kRowTile, kLineTile>();
        });
      }
      if (d < dim) {
        Instructions::template Load<kHalfRowTile>(q + d * kElementBytes, q_stride);
        ForEachTile<kPages>([&]<int page>() {
          const std::int64_t at = d / 2 * kTileRowBytes;
          if (next != nullptr) Prefetch<kTileHeight / 2>(next[page] + at, kTileRowBytes);
          Instructions::template Load<kHalfLineTile>(keys[page] + at, kTileRowBytes);
          Instructions::template AddBf16Product<page, kHalfRowTile, kHalfLineTile>();
        });
      }
      ForEachTile<kPages>([&]<int page>() {
        Instructions::template Store<page>(scores + page * kTileRowBytes, score_stride);
      });
    });
  }

  // o[row] += weights[row] values, over `pages` whole pages; meanwhile asks for next[page], if that
  // is not null.
  // weights: bf16 [rows, 16 pages], weight_stride bytes from row to row.
  // values: of `columns` dims, a multiple of 16. o: f32 [rows, columns].
  static void Weigh(const std::byte* weights, std::int64_t weight_stride,
                    const std::byte* const* values, const std::byte* const* next, int pages,
                    std::int64_t columns, std::byte* o) {
    const std::int64_t stride = columns * std::int64_t{sizeof(float)};  // of o and of a line
    constexpr std::int64_t kMostBytes = kSums * kTileRowBytes;
    for (std::int64_t at = 0; at < stride; at += kMostBytes) {
      const auto left = static_cast<int>((stride - at) / kTileRowBytes);
      WithCount(left < kSums ? left : kSums, [&]<int kWide>() {
        ForEachTile<kWide>([&]<int tile>() {
          Instructions::template Load<tile>(o + at + tile * kTileRowBytes, stride);
        });
        for (int page = 0; page < pages; ++page) {
          Instructions::template Load<kHalfRowTile>(weights + page * kTileRowBytes / 2,
                                                    weight_stride);
          ForEachTile<kWide>([&]<int tile>() {
            const std::int64_t place = at + tile * kTileRowBytes;
            if (next != nullptr) Prefetch<kTileHeight / 2>(next[page] + place, stride);
            Instructions::template Load<kHalfLineTile>(values[page] + place, stride);
            Instructions::template AddBf16Product<tile, kHalfRowTile, kHalfLineTile>();
          });
        }
        ForEachTile<kWide>([&]<int tile>() {
          Instructions::template Store<tile>(o + at + tile * kTileRowBytes, stride);
        });
      });
    }
  }

 private:
  static_assert(backend::kPageTokens == kTileHeight);
  static constexpr std::int64_t kElementBytes = 2;
  static constexpr std::int64_t kStepDims = 32;

  // Tiles 0 to 3 are sums; rows and lines of 32 dims; and of 16 dims or positions.
  static constexpr int kSums = 4;
  static constexpr int kRowTile = 4;
  static constexpr int kHalfRowTile = 5;
  static constexpr int kLineTile = 6;
  static constexpr int kHalfLineTile = 7;

  template <int lines>
  static void Prefetch(const std::byte* first, std::int64_t stride) {
#pragma GCC unroll 16
    for (int i = 0; i < lines; ++i) __builtin_prefetch(first + i * stride);
  }

  // Calls work.operator()<count>(), 1 <= count <= 4.
  template <class Work>
  static void WithCount(int count, const Work& work) {
    switch (count) {
      case 1:
        return work.template operator()<1>();
      case 2:
        return work.template operator()<2>();
      case 3:
        return work.template operator()<3>();
      default:
        return work.template operator()<4>();
    }
  }
};

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_ATTENTION_AMX_H_
