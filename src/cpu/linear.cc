// SPDX-License-Identifier: Apache-2.0
#include "cpu/linear.h"

#include <algorithm>

namespace codegen::cpu {
namespace {

constexpr std::int64_t kSumBytes = 4;

// The tile at a panel and row, over all inputs.
TileArgs TileAt(const LinearArgs& args, std::int64_t panel, std::int64_t row) {
  const std::int64_t down = row * args.x_stride;
  return {.x = args.x + down,
          .x_stride = args.x_stride,
          .group_sums = args.group_sums == nullptr ? nullptr : args.group_sums + down,
          .panels = args.panels + panel * args.panel_bytes,
          .panel_bytes = args.panel_bytes,
          .inputs = args.inputs};
}

std::int64_t ElementBytes(Activations activations) {
  switch (activations) {
    case Activations::kF32:
      return 4;
    case Activations::kBf16:
      return 2;
    case Activations::kInt8:
      return 1;
  }
  return 0;
}

// The part of a tile from input `first` on, at most a block of them.
TileArgs BlockOf(const LinearKernel& kernel, TileArgs tile, std::int64_t first) {
  const std::int64_t steps = first / kernel.step_inputs;
  tile.x += first * ElementBytes(kernel.activations);
  if (tile.group_sums != nullptr) tile.group_sums += steps * kSumBytes;
  tile.panels += steps * kernel.step_bytes;
  tile.inputs = std::min(kernel.block_inputs, tile.inputs - first);
  tile.resume = first > 0;
  return tile;
}

// Rows that fit one tile: all of w passes once.
void FewRows(const LinearKernel& kernel, const LinearArgs& args, const LinearBlock& block) {
  alignas(64) std::byte sums[kMostTileLines * kLine * kSumBytes];
  const auto rows = static_cast<std::size_t>(block.last_row - block.first_row);
  LinearBlock tile = block;
  for (; tile.first_panel < block.last_panel; tile.first_panel = tile.last_panel) {
    const int wide = kernel.few_panels[rows];
    const bool whole = tile.first_panel + wide <= block.last_panel;
    tile.last_panel = tile.first_panel + (whole ? wide : kernel.slab_panels);
    TileArgs t = TileAt(args, tile.first_panel, block.first_row);
    t.sums = sums;
    (whole ? kernel.few : kernel.slab)[rows](t);
    kernel.finish(args, tile, sums);
  }
}

// The slab of `block`, which is slab_panels wide, in tiles of equal height, give or take one.
void Slab(const LinearKernel& kernel, const LinearArgs& args, const LinearBlock& block) {
  alignas(64) std::byte sums[kSlabRows * kPanelGroup * kLine * kSumBytes];
  const std::int64_t rows = block.last_row - block.first_row;
  const std::int64_t tiles = (rows + kernel.tile_rows - 1) / kernel.tile_rows;
  for (std::int64_t k = 0; k < args.inputs; k += kernel.block_inputs) {
    for (std::int64_t i = 0; i < tiles; ++i) {
      LinearBlock tile = block;
      tile.first_row = block.first_row + rows * i / tiles;
      tile.last_row = block.first_row + rows * (i + 1) / tiles;
      TileArgs t = BlockOf(kernel, TileAt(args, block.first_panel, tile.first_row), k);
      t.sums = sums + (tile.first_row - block.first_row) * kernel.slab_panels * kLine * kSumBytes;
      kernel.slab[static_cast<std::size_t>(tile.last_row - tile.first_row)](t);
      if (k + t.inputs == args.inputs) kernel.finish(args, tile, t.sums);
    }
  }
}

}  // namespace

void RunLinear(const LinearKernel& kernel, const LinearArgs& args, const LinearBlock& block) {
  if (block.last_row - block.first_row <= kernel.few_rows) return FewRows(kernel, args, block);
  LinearBlock part = block;
  for (; part.first_panel < block.last_panel; part.first_panel = part.last_panel) {
    part.last_panel = part.first_panel + kernel.slab_panels;
    Slab(kernel, args, part);
  }
}

}  // namespace codegen::cpu
