// SPDX-License-Identifier: Apache-2.0
//
// Linear: y[t, o] = sum over k of x[t, k] w[o, k] + bias[o], then stored, added to y, or through
// gelu. What all formats and instruction sets share: how a product is cut into register tiles.
//
// Shapes: x [rows, inputs] f32, bf16 or int8; w packed in panels of 16 outputs (pack.h); y [rows,
// outputs] f32. A thread owns whole outputs of whole rows: k is never split between threads.
//
// One accumulator per (row, output), filled in ascending k: a sum does not depend on the number of
// rows, on the tile or on the thread, so a decode step, a small batch and a prompt agree bit for
// bit. The latency of the adds is hidden by other panels and rows, never by a second chain of the
// same sum.
//
// A register tile is P panels x R rows (24 of 32 registers with AVX-512: 8 x 2 for a decode, 2 x 12
// for a prompt; half the tiles of AMX: 4 x 16 and 2 x 32). Few rows: each line of w is read once
// from memory, in P streams at a time. Many rows: a block of k of two panels stays in
// the L1 cache while the rows of a slab pass; the sums wait in memory between the blocks, which
// changes no bit. Of long rows a stretch of k passes all panels of a task before the next one, so
// that it stays in L2: without that, rows of 10,240 int8 on a Xeon went at 0.63 of the speed, of
// bf16 at 0.57 (bench/results/2026-11-23-xeon-amx.md).
#ifndef CODEGEN_CPU_LINEAR_H_
#define CODEGEN_CPU_LINEAR_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "backend/backend.h"

namespace codegen::cpu {

inline constexpr std::int64_t kLine = 16;       // floats in 64 bytes; outputs in a panel
inline constexpr std::int64_t kPanelGroup = 2;  // panels that a kernel may take at least
inline constexpr std::int64_t kSlabRows = 256;  // that one pass over a panel serves, at most
inline constexpr int kMostTaskPanels = 8;
inline constexpr int kMostTileRows = 32;
inline constexpr int kMostTileLines = 64;  // panels x rows

// What a kernel multiplies its weights with.
enum class Activations { kF32, kBf16, kInt8 };

// Where the narrowed form of one row of x lies; strides are equal for all rows of a tensor.
struct NarrowRow {
  std::byte* elements = nullptr;  // bf16 or int8, zeros from `columns` to the next 64 bytes
  float* group_sums = nullptr;    // int8: sum of each group of quant::kInt4Group elements
  float* scale = nullptr;         // int8: x = element * scale
  std::int32_t* total = nullptr;  // int8: sum of all elements
};

// A product. Everything about x is that of its first row.
struct LinearArgs {
  const std::byte* x = nullptr;           // [rows, inputs]
  std::int64_t x_stride = 0;              // bytes, also of the three below
  const std::byte* group_sums = nullptr;  // NarrowRow, of Activations::kInt8
  const std::byte* x_scale = nullptr;
  const std::byte* x_total = nullptr;
  const std::byte* panels = nullptr;  // packed as in pack.h, panel_bytes apart
  std::int64_t panel_bytes = 0;
  std::int64_t panel_count = 0;    // without the padding to kPanelGroup
  const float* w_scale = nullptr;  // [outputs], padded; of int8
  const float* bias = nullptr;     // [outputs], padded
  float* y = nullptr;              // [rows, outputs], stride y_stride floats
  std::int64_t y_stride = 0;
  std::int64_t inputs = 0;
  backend::Then then = backend::Then::kStore;
};

// The part of y that one call computes: panels [first_panel, last_panel), beginning at a multiple
// of kPanelGroup and ending at one or with the matrix, of rows [first_row, last_row), at most
// slab_rows of the kernel.
struct LinearBlock {
  std::int64_t first_panel = 0;
  std::int64_t last_panel = 0;
  std::int64_t first_row = 0;
  std::int64_t last_row = 0;
};

// One register tile over a stretch of k.
struct TileArgs {
  const std::byte* x = nullptr;  // of its first row and input
  std::int64_t x_stride = 0;     // bytes
  const std::byte* group_sums = nullptr;
  const std::byte* panels = nullptr;  // of its first panel and input
  std::int64_t panel_bytes = 0;
  std::int64_t inputs = 0;
  std::int64_t rows = 0;
  // Weights that a kernel may ask for meanwhile, so many bytes of each panel; nullptr: none.
  const std::byte* ahead = nullptr;
  std::int64_t ahead_bytes = 0;
  bool resume = false;        // go on from `sums` instead of zero
  std::byte* sums = nullptr;  // [R][P][16] f32 or int32
};

using TileKernel = void (*)(const TileArgs& tile);
// sums [rows][panels][16] of a tile become y; sums of padding panels go nowhere.
using FinishKernel = void (*)(const LinearArgs& args, const LinearBlock& tile,
                              const std::byte* sums);

// What the CPU must be told about tiles of so many rows, before the first of them and whenever
// their number changes; and what ends that. nullptr: nothing. Nothing for fewer than `least_rows`.
struct TileState {
  int least_rows = 0;
  void (*enter)(int rows) = nullptr;
  void (*leave)() = nullptr;
};

// How to multiply with one format of weights.
struct LinearKernel {
  Activations activations = Activations::kF32;
  std::int64_t step_inputs = 1;   // the unit of a panel: so many inputs
  std::int64_t step_bytes = 64;   // take so many bytes
  std::int64_t block_inputs = 0;  // of k at a time, for many rows; a multiple of step_inputs
  std::int64_t slab_rows = 240;   // activations that one pass over a panel serves
  int tile_rows = 0;              // of the largest tile of a slab; others are half as high at least
  int few_rows = 0;               // rows that fit one tile without a slab
  std::array<TileKernel, kMostTileRows + 1> slab = {};  // [rows]: kPanelGroup panels or fewer
  int slab_panels = 0;
  int task_panels = kPanelGroup;                       // of a slab that one thread takes in turn
  std::array<TileKernel, kMostTileRows + 1> few = {};  // [rows]: few_panels[rows] panels
  std::array<int, kMostTileRows + 1> few_panels = {};
  TileState state;
  FinishKernel finish = nullptr;
};

void RunLinear(const LinearKernel& kernel, const LinearArgs& args, const LinearBlock& block);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_LINEAR_H_
