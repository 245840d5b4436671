// SPDX-License-Identifier: Apache-2.0
#include "cpu/linear.h"

#include <algorithm>

namespace codegen::cpu {
namespace {

constexpr std::int64_t kSumBytes = 4;
constexpr std::int64_t kStretchBytes = std::int64_t{1} << 20;  // half of L2, or all of it

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

// Keeps the CPU in the state that tiles of a height need, from the first of them on.
class InState {
 public:
  explicit InState(const TileState& state) : state_(state) {}
  InState(const InState&) = delete;
  InState& operator=(const InState&) = delete;
  ~InState() {
    if (rows_ > 0) state_.leave();
  }

  void Enter(std::int64_t rows) {
    if (state_.enter == nullptr || rows < state_.least_rows || rows == rows_) return;
    state_.enter(static_cast<int>(rows));
    rows_ = rows;
  }

 private:
  const TileState& state_;
  std::int64_t rows_ = 0;
};

// Rows that fit one tile: all of w passes once.
void FewRows(const LinearKernel& kernel, const LinearArgs& args, const LinearBlock& block) {
  alignas(64) std::byte sums[kMostTileLines * kLine * kSumBytes];
  const auto rows = static_cast<std::size_t>(block.last_row - block.first_row);
  InState state(kernel.state);
  state.Enter(block.last_row - block.first_row);
  LinearBlock tile = block;
  for (; tile.first_panel < block.last_panel; tile.first_panel = tile.last_panel) {
    const int wide = kernel.few_panels[rows];
    const bool whole = tile.first_panel + wide <= block.last_panel;
    tile.last_panel = tile.first_panel + (whole ? wide : kernel.slab_panels);
    TileArgs t = TileAt(args, tile.first_panel, block.first_row);
    t.rows = block.last_row - block.first_row;
    t.sums = sums;
    (whole ? kernel.few : kernel.slab)[rows](t);
    kernel.finish(args, tile, sums);
  }
}

// So much of k that x of a slab stays in L2 while all panels of a block pass.
struct Stretch {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

std::int64_t StretchInputs(const LinearKernel& kernel, std::int64_t rows) {
  const std::int64_t block_bytes = rows * kernel.block_inputs * ElementBytes(kernel.activations);
  return std::max<std::int64_t>(1, kStretchBytes / block_bytes) * kernel.block_inputs;
}

// The weights that follow those of input `k` and of the panels of `part`, within `stretch`, and
// then in the next one; nullptr behind the last.
const std::byte* WeightsAfter(const LinearKernel& kernel, const LinearArgs& args,
                              const LinearBlock& block, const LinearBlock& part, Stretch stretch,
                              std::int64_t k) {
  const auto at = [&](std::int64_t panel, std::int64_t input) {
    return args.panels + panel * args.panel_bytes + input / kernel.step_inputs * kernel.step_bytes;
  };
  if (k + kernel.block_inputs < stretch.last) return at(part.first_panel, k + kernel.block_inputs);
  if (part.last_panel < block.last_panel) return at(part.last_panel, stretch.first);
  return stretch.last < args.inputs ? at(block.first_panel, stretch.last) : nullptr;
}

// A stretch of the slab of `part`, which is slab_panels wide, in tiles of equal height, give or
// take one: the higher ones first, so that their state changes once.
void Slab(const LinearKernel& kernel, const LinearArgs& args, const LinearBlock& block,
          const LinearBlock& part, Stretch stretch, std::byte* sums, InState& state) {
  const std::int64_t rows = part.last_row - part.first_row;
  const std::int64_t tiles = (rows + kernel.tile_rows - 1) / kernel.tile_rows;
  const std::int64_t share = kernel.step_bytes * kernel.block_inputs / kernel.step_inputs / tiles;
  for (std::int64_t k = stretch.first; k < stretch.last; k += kernel.block_inputs) {
    const std::byte* const ahead = WeightsAfter(kernel, args, block, part, stretch, k);
    LinearBlock tile = part;
    for (std::int64_t i = 0; i < tiles; ++i, tile.first_row = tile.last_row) {
      const std::int64_t height = rows / tiles + (i < rows % tiles ? 1 : 0);
      tile.last_row = tile.first_row + height;
      TileArgs t = BlockOf(kernel, TileAt(args, part.first_panel, tile.first_row), k);
      t.rows = height;
      if (ahead != nullptr) {
        t.ahead = ahead + i * share;
        t.ahead_bytes = share;
      }
      t.sums = sums + (tile.first_row - part.first_row) * kernel.slab_panels * kLine * kSumBytes;
      state.Enter(height);
      kernel.slab[static_cast<std::size_t>(height)](t);
      if (k + t.inputs == args.inputs) kernel.finish(args, tile, t.sums);
    }
  }
}

// Many rows of at most kMostTaskPanels panels.
void ManyRows(const LinearKernel& kernel, const LinearArgs& args, const LinearBlock& block,
              InState& state) {
  alignas(64) std::byte sums[kSlabRows * kMostTaskPanels * kLine * kSumBytes];
  const std::int64_t rows = block.last_row - block.first_row;
  Stretch stretch;
  for (; stretch.first < args.inputs; stretch.first = stretch.last) {
    stretch.last = std::min(args.inputs, stretch.first + StretchInputs(kernel, rows));
    LinearBlock part = block;
    for (; part.first_panel < block.last_panel; part.first_panel = part.last_panel) {
      part.last_panel = part.first_panel + kernel.slab_panels;
      const std::int64_t before = (part.first_panel - block.first_panel) * rows;
      Slab(kernel, args, block, part, stretch, sums + before * kLine * kSumBytes, state);
    }
  }
}

}  // namespace

void RunLinear(const LinearKernel& kernel, const LinearArgs& args, const LinearBlock& block) {
  if (block.last_row - block.first_row <= kernel.few_rows) return FewRows(kernel, args, block);
  InState state(kernel.state);
  LinearBlock part = block;
  for (; part.first_panel < block.last_panel; part.first_panel = part.last_panel) {
    part.last_panel = std::min(part.first_panel + kMostTaskPanels, block.last_panel);
    ManyRows(kernel, args, part, state);
  }
}

}  // namespace codegen::cpu
