// SPDX-License-Identifier: Apache-2.0
//
// Tiles of Linear (linear.h) with int4 weights for AMX: the nibbles of a group become the lines of
// two tiles of bytes in the L1 cache, AMX multiplies them, and the integer sums of the group are
// scaled and added to those in memory, with the expression and the bits of every other level
// (linear_int4.cc). A group of 128 inputs, 32 rows and 2 panels is 128 cycles of products beside as
// many of unpacking and twice as many of scaling, where vpdpbusd takes 1,024 for the products.
//
// Bytes moved per call with few rows: panels x panel_bytes, once; x from L1. Fewer than 10 rows are
// left to vpdpbusd.
//
// Measured on two threads of a Xeon with AMX (bench/results/2026-11-23-xeon-amx.md), beside
// vpdpbusd: 16 rows through the matrices of CodeGen1-350M 11.0 ms (14.8), 8 rows 9.5 (8.8); 512
// rows through those of a layer 1.79 Top/s (0.79).
//
// `Lines` works on lines of 64 bytes; it is in the instructions of the machine, or in tests in
// plain C++:
//   Unpack(group, lines)  16 lines of nibbles (pack.h) to 32 of bytes
//   Scale(args)
#ifndef CODEGEN_CPU_LINEAR_INT4_AMX_H_
#define CODEGEN_CPU_LINEAR_INT4_AMX_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cpu/linear.h"
#include "cpu/linear_amx.h"
#include "cpu/pack.h"
#include "cpu/tile_config.h"
#include "quant/format.h"

namespace codegen::cpu {

// sums[row] += minimum (sum of x of the row) + scale (integer sum of the row), for 16 outputs.
struct Int4ScaleArgs {
  const std::byte* scales = nullptr;  // 16 scales and 16 minima in f16
  const std::byte* x_sums = nullptr;  // a float of the first row
  std::int64_t x_stride = 0;          // bytes from one row to the next
  std::int64_t rows = 0;
  std::int64_t stride = 0;              // bytes of a row of the two below
  const std::byte* products = nullptr;  // [rows][16] int32
  std::byte* sums = nullptr;            // [rows][16] f32
};

template <class Instructions, class Lines>
class AmxInt4Linear : public AmxProducts<Instructions, AmxInt4Linear<Instructions, Lines>> {
  using Base = AmxProducts<Instructions, AmxInt4Linear>;
  friend Base;
  static constexpr Activations kActivations = Activations::kInt8;
  static constexpr std::int64_t kGroup = quant::kInt4Group;
  static constexpr int kGroupTiles = static_cast<int>(kGroup / kTileRowBytes);
  static constexpr std::int64_t kBlockGroups = 8;
  static constexpr std::int64_t kBlockInputs = kBlockGroups * kGroup;

  // A tile of panels over t.inputs, or the next multiple of kGroup: both sides are padded.
  template <int kHeights, int kPanels>
  static void Run(const TileArgs& t) {
    constexpr std::int64_t kStride = std::int64_t{kPanels} * kTileRowBytes;
    alignas(64) std::byte weights[kPanels][kGroupTiles * Base::kTileBytes];
    alignas(64) std::byte products[kHeights * kPanels * Base::kTileBytes];
    if (!t.resume) std::fill_n(t.sums, t.rows * kStride, std::byte{0});
    const std::byte* x = t.x;
    const std::byte* group = t.panels;
    const std::byte* x_sums = t.group_sums;
    const std::byte* ahead = t.ahead;
    const std::int64_t ahead_bytes = t.ahead_bytes / kBlockGroups;
    for (std::int64_t k = 0; k < t.inputs; k += kGroup) {
      for (int panel = 0; panel < kPanels; ++panel) {
        if (ahead_bytes > 0) Base::AskAhead(ahead + panel * t.panel_bytes, ahead_bytes);
        Lines::Unpack(group + panel * t.panel_bytes, weights[panel]);
      }
      Multiply<kHeights, kPanels>(x, t.x_stride, weights, products);
      for (int panel = 0; panel < kPanels; ++panel) {
        Lines::Scale({.scales = group + panel * t.panel_bytes + kInt4GroupLines * kLineBytes,
                      .x_sums = x_sums,
                      .x_stride = t.x_stride,
                      .rows = t.rows,
                      .stride = kStride,
                      .products = products + panel * kTileRowBytes,
                      .sums = t.sums + panel * kTileRowBytes});
      }
      x += kGroup;
      group += kInt4GroupBytes;
      x_sums += sizeof(float);
      ahead += ahead_bytes;
    }
  }

  template <int kHeights, int kPanels>
  static void Multiply(const std::byte* x, std::int64_t x_stride,
                       const std::byte (&weights)[kPanels][kGroupTiles * Base::kTileBytes],
                       std::byte* products) {
    ForEachTile<kHeights * kPanels>([]<int tile>() { Instructions::template Zero<tile>(); });
    for (int step = 0; step < kGroupTiles; ++step) {
      ForEachTile<kHeights>([&]<int height>() {
        Instructions::template Load<Base::RowTile(height)>(
            x + step * kTileRowBytes + height * kTileHeight * x_stride, x_stride);
      });
      ForEachTile<kPanels>([&]<int panel>() {
        constexpr int kWeights = Base::WeightTile(panel);
        Instructions::template Load<kWeights>(weights[panel] + step * Base::kTileBytes,
                                              kTileRowBytes);
        ForEachTile<kHeights>([]<int height>() {
          Instructions::template AddInt8Product<Base::template SumTile<kPanels>(height, panel),
                                                Base::RowTile(height), kWeights>();
        });
      });
    }
    ForEachTile<kHeights * kPanels>([&]<int tile>() {
      Instructions::template Store<tile>(Base::template SumsOf<kPanels>(products, tile),
                                         std::int64_t{kPanels} * kTileRowBytes);
    });
  }
};

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_LINEAR_INT4_AMX_H_
