// SPDX-License-Identifier: Apache-2.0
//
// Tiles of Linear (linear.h) for AMX: 16 lines of a panel are a tile of weights, 64 bytes of 16
// rows of activations a tile, and one instruction multiplies them, 16 rows x 16 outputs x 64 int8
// or 32 bf16 inputs. Two forms: 32 rows x 2 panels, in which every tile loaded is used twice, and
// 16 rows x 4 panels (4 chains hide the latency of 52 cycles); the rows of the last tile are what
// there is.
//
// Sums of int8 have the bits of every other level. Those of bf16 are a contract of their own: 32
// inputs at a time, the even and the odd ones each in a chain from zero, whose sum is then added to
// that of the output; denormals taken as zero. They are the same for any number of rows, so bf16
// runs here from one row on. int8 leaves up to 4 rows to vpdpbusd (linear_dot.cc), which streams
// weights as fast as memory gives them; more rows would take it longer. int4: linear_int4_amx.h.
//
// Bytes moved per call with few rows: panels x panel_bytes, once; x from L1.
//
// Measured on two threads of a Xeon with AMX (bench/results/2026-11-23-xeon-amx.md; 34 GB/s, 7.0
// and 14.3 Top/s at best). Few rows, the matrices of CodeGen1-350M once, GB/s:
//
//   rows                          1     4     8    16
//   bf16                       29.9     -  28.9  27.5
//   int8                       29.8  29.5  29.2  26.6
//   int8, prefetched into L1   29.6     -  26.7  24.6   the hardware does it better here
//   int8 by vpdpbusd           34.1  30.9  24.8  18.7
//
// A prompt of 512, whole model, ms: bf16 190, int8 134; without asking ahead for weights 218 and
// 157. One layer of it, Top/s: bf16 1.68, int8 2.88; with blocks of 16 steps 1.52 and 2.64, since x
// then drives the weights out of L1.
//
// `Instructions` is AmxTiles, or in tests what stands for it.
#ifndef CODEGEN_CPU_LINEAR_AMX_H_
#define CODEGEN_CPU_LINEAR_AMX_H_

#include <cstddef>
#include <cstdint>

#include "cpu/linear.h"
#include "cpu/tile_config.h"

namespace codegen::cpu {

// What the loops of all formats share. `Loops` has
//   kActivations
//   kBlockInputs             of k that a pass of a slab takes
//   Run<heights, panels>(t)  a tile of up to 16 rows a height
template <class Instructions, class Loops>
class AmxProducts {
 public:
  // The products of `least_rows` or more of a kernel whose format and finish are set. Requires: it
  // has tiles for fewer, in which it takes panels by twos, and the same activations.
  static void Take(LinearKernel& kernel, int least_rows) {
    kernel.activations = Loops::kActivations;
    kernel.block_inputs = Loops::kBlockInputs;
    kernel.slab_rows = kSlabRows;
    kernel.slab_panels = 2;
    kernel.task_panels = 8;
    kernel.tile_rows = kMostTileRows;
    kernel.few_rows = kMostTileRows;
    kernel.state = {.least_rows = least_rows, .enter = &Enter, .leave = &Leave};
    for (auto rows = static_cast<std::size_t>(least_rows); rows <= kMostTileRows; ++rows) {
      const bool low = rows <= kTileHeight;
      kernel.slab[rows] = low ? &Loops::template Run<1, 2> : &Loops::template Run<2, 2>;
      kernel.few[rows] = low ? &Loops::template Run<1, 4> : &Loops::template Run<2, 2>;
      kernel.few_panels[rows] = low ? 4 : 2;
    }
  }

 protected:
  static_assert(kMostTileRows == 2 * kTileHeight);
  static constexpr std::int64_t kTileBytes = std::int64_t{kTileHeight} * kTileRowBytes;

  static void Enter(int rows) { Instructions::Configure(ConfigFor(rows)); }
  static void Leave() { Instructions::Release(); }

  // Numbers of tiles, as ConfigFor has them.
  template <int kPanels>
  static constexpr int SumTile(int height, int panel) {
    return height * kPanels + panel;
  }
  static constexpr int RowTile(int height) { return 4 + height; }
  static constexpr int WeightTile(int panel) { return 6 + panel % 2; }

  // Where the sums of a tile begin in [rows][kPanels][16].
  template <int kPanels>
  static std::byte* SumsOf(std::byte* sums, int tile) {
    return sums +
           (std::int64_t{tile / kPanels} * kTileHeight * kPanels + tile % kPanels) * kTileRowBytes;
  }

  static void AskAhead(const std::byte* first, std::int64_t bytes) {
    for (std::int64_t b = 0; b < bytes; b += kTileRowBytes) __builtin_prefetch(first + b, 0, 2);
  }
};

template <class Instructions, Activations kOperands>
class AmxLinear : public AmxProducts<Instructions, AmxLinear<Instructions, kOperands>> {
  using Base = AmxProducts<Instructions, AmxLinear>;
  friend Base;
  static_assert(kOperands == Activations::kInt8 || kOperands == Activations::kBf16);
  static constexpr Activations kActivations = kOperands;
  static constexpr std::int64_t kStepInputs = kOperands == Activations::kInt8 ? 64 : 32;
  static constexpr std::int64_t kBlockSteps = 8;  // of two panels: 16 KiB of L1, 16 of x pass by
  static constexpr std::int64_t kBlockInputs = kBlockSteps * kStepInputs;

  template <int c, int a, int b>
  static void AddProduct() {
    if constexpr (kOperands == Activations::kInt8) {
      Instructions::template AddInt8Product<c, a, b>();
    } else {
      Instructions::template AddBf16Product<c, a, b>();
    }
  }

  // A tile of panels over t.inputs, or the next multiple of kStepInputs: both sides are padded.
  template <int kHeights, int kPanels>
  static void Run(const TileArgs& t) {
    constexpr std::int64_t kSumStride = std::int64_t{kPanels} * kTileRowBytes;
    const std::int64_t x_stride = t.x_stride;
    const std::int64_t panel_bytes = t.panel_bytes;
    const std::int64_t inputs = t.inputs;
    const bool resume = t.resume;
    std::byte* const sums = t.sums;
    ForEachTile<kHeights * kPanels>([=]<int tile>() {
      if (resume) {
        Instructions::template Load<tile>(Base::template SumsOf<kPanels>(sums, tile), kSumStride);
      } else {
        Instructions::template Zero<tile>();
      }
    });
    const std::byte* x = t.x;
    const std::byte* lines = t.panels;
    const std::byte* ahead = t.ahead;
    const std::int64_t ahead_bytes = t.ahead_bytes / kBlockSteps;
    for (std::int64_t k = 0; k < inputs; k += kStepInputs) {
      ForEachTile<kHeights>([=]<int height>() {
        Instructions::template Load<Base::RowTile(height)>(x + height * kTileHeight * x_stride,
                                                           x_stride);
      });
      ForEachTile<kPanels>([=]<int panel>() {
        constexpr int kWeights = Base::WeightTile(panel);
        if (ahead_bytes > 0) Base::AskAhead(ahead + panel * panel_bytes, ahead_bytes);
        Instructions::template Load<kWeights>(lines + panel * panel_bytes, kTileRowBytes);
        ForEachTile<kHeights>([]<int height>() {
          AddProduct<Base::template SumTile<kPanels>(height, panel), Base::RowTile(height),
                     kWeights>();
        });
      });
      x += kTileRowBytes;
      ahead += ahead_bytes;
      lines += Base::kTileBytes;
    }
    ForEachTile<kHeights * kPanels>([=]<int tile>() {
      Instructions::template Store<tile>(Base::template SumsOf<kPanels>(sums, tile), kSumStride);
    });
  }
};

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_LINEAR_AMX_H_
