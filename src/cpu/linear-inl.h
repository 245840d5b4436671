// SPDX-License-Identifier: Apache-2.0
//
// Linear: y[t, o] = sum over k of x[t, k] w[o, k] + bias[o], then stored, added to y, or through
// gelu.
//
// Shapes: x [rows, inputs] f32, w packed in panels of 16 outputs (pack.h) in f32, bf16 or f16, y
// [rows, outputs] f32. A thread owns whole outputs of whole rows: k is never split.
//
// One accumulator per (row, output), filled in ascending k by fused multiply-adds: a sum does not
// depend on the number of rows, on the tile or on the thread, so a decode step, a small batch and a
// prompt agree bit for bit. The latency of the adds is hidden by other panels and rows, never by a
// second chain of the same sum.
//
// A register tile is P panels x R rows (24 of 32 registers with AVX-512: 8 x 2 for a decode, 2 x 12
// for a prompt). Few rows: each line of w is read once from memory, prefetched 2 KB ahead in P
// streams at a time. Many rows: two panels stay in L2 while the rows of a slab pass; k is cut in
// blocks of kBlockInputs so that they do for any width, and the sums wait in f32 in between, which
// changes no bit.
//
// Bytes moved per call with few rows: panels x panel_bytes, once; x from L1.
//
// Best measured (2 vCPUs of an AMD EPYC (Zen 4), shared, 2026-11-22; bench/linear.cc; shares are of
// probes beside the runs): all matrices of CodeGen1-350M at 1 row f32 / bf16 / f16 0.69 / 0.89 /
// 0.91 of the read bandwidth; one layer at 128 rows 0.91 / 0.86 / 0.86 of the f32 peak with two
// threads, at 256 rows 0.96 / 0.93 / 0.87 of one core's (AVX2 level: 0.91 / 0.67 / 0.93).
#if defined(CODEGEN_CPU_LINEAR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CODEGEN_CPU_LINEAR_INL_H_
#undef CODEGEN_CPU_LINEAR_INL_H_
#else
#define CODEGEN_CPU_LINEAR_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

// A format: how many inputs one step of a panel holds, in how many bytes, and input `i` of a step
// as floats. Each input is loaded on its own: a shift or mask takes the line straight from L1, and
// no register is spent on what the other input of a pair will need.
struct F32Panel {
  static constexpr int kStep = 1;
  static constexpr int kStepBytes = 64;
  template <int i>
  static HWY_INLINE V Load(const std::byte* step, int vector) {
    return hn::Load(F(), reinterpret_cast<const float*>(step) + vector * kLanes);
  }
};

struct Bf16Panel {
  static constexpr int kStep = 2;
  static constexpr int kStepBytes = 64;
  template <int i>
  static HWY_INLINE V Load(const std::byte* step, int vector) {
    const U u;
    const auto pair = hn::Load(u, reinterpret_cast<const std::uint32_t*>(step) + vector * kLanes);
    if constexpr (i == 0) return hn::BitCast(F(), hn::ShiftLeft<16>(pair));
    return hn::BitCast(F(), hn::And(pair, hn::Set(u, 0xFFFF0000U)));
  }
};

struct F16Panel {
  static constexpr int kStep = 1;
  static constexpr int kStepBytes = 32;
  template <int i>
  static HWY_INLINE V Load(const std::byte* step, int vector) {
    const hn::Rebind<hwy::float16_t, F> half;
    const auto* halves = reinterpret_cast<const hwy::float16_t*>(step) + vector * kLanes;
    return hn::PromoteTo(F(), hn::Load(half, halves));
  }
};

constexpr int kAccumulators = HWY_CAP_GE512 || HWY_ARCH_ARM_A64 ? 24 : 12;  // of 32 or 16 registers
constexpr int kSlabPanels = HWY_CAP_GE512 ? 2 : 1;
static_assert(kPanelGroup % kSlabPanels == 0);
constexpr int kTileRows = std::max(1, kAccumulators / (kSlabPanels * kVectors));
constexpr std::int64_t kBlockInputs = 2048;
constexpr std::int64_t kPrefetchBytes = 2048;

// Panels of a tile of so few rows that w comes from memory.
constexpr int PanelsFor(int rows) {
  const int limit = rows <= 2 ? 16 : kAccumulators;
  int panels = 8;
  while (panels > 1 && panels * rows * kVectors > limit) panels /= 2;
  return panels;
}

// A tile's place: where its first row and first panel start, and the inputs it takes now.
struct TileArgs {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const std::byte* panels = nullptr;
  std::int64_t panel_bytes = 0;
  std::int64_t first_input = 0;
  std::int64_t last_input = 0;
  float* sums = nullptr;  // [R][P][16]; read if first_input > 0
};

// A tile's sums in registers.
template <int kPanels, int kRows>
struct Sums {
  V line[kRows][kPanels][kVectors];
};

// Calls function(r, p, v, place in TileArgs::sums) for every vector of a tile.
template <int kPanels, int kRows, class Function>
HWY_INLINE void ForEachVector(const Function& function) {
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (int p = 0; p < kPanels; ++p) {
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v)
        function(r, p, v, ((r * kPanels + p) * kVectors + v) * kLanes);
    }
  }
}

// Adds x[r] w[p] for one input, number `i` of the step. Whichever side is smaller stays in
// registers, the other one passes.
template <class Panel, int i, int kPanels, int kRows>
HWY_INLINE void MultiplyInput(const float* x, std::int64_t x_stride, const std::byte* step,
                              std::int64_t panel_bytes, Sums<kPanels, kRows>& sums) {
  const F f;
  if constexpr (kRows <= kPanels) {
    V row[kRows];
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) row[r] = hn::Set(f, x[r * x_stride + i]);
    HWY_UNROLL(8)
    for (int p = 0; p < kPanels; ++p) {
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) {
        const V w = Panel::template Load<i>(step + p * panel_bytes, v);
        HWY_UNROLL(16)
        for (int r = 0; r < kRows; ++r)
          sums.line[r][p][v] = hn::MulAdd(row[r], w, sums.line[r][p][v]);
      }
    }
  } else {
    V w[kPanels][kVectors];
    HWY_UNROLL(8)
    for (int p = 0; p < kPanels; ++p) {
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v)
        w[p][v] = Panel::template Load<i>(step + p * panel_bytes, v);
    }
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const V row = hn::Set(f, x[r * x_stride + i]);
      HWY_UNROLL(8)
      for (int p = 0; p < kPanels; ++p) {
        HWY_UNROLL(16)
        for (int v = 0; v < kVectors; ++v)
          sums.line[r][p][v] = hn::MulAdd(row, w[p][v], sums.line[r][p][v]);
      }
    }
  }
}

template <class Panel, int kPanels, int kRows>
HWY_NOINLINE void Tile(const TileArgs& t) {
  const F f;
  Sums<kPanels, kRows> sums;
  ForEachVector<kPanels, kRows>([&](int r, int p, int v, std::int64_t place) HWY_ATTR {
    sums.line[r][p][v] = t.first_input == 0 ? hn::Zero(f) : hn::Load(f, t.sums + place);
  });

  const std::int64_t x_stride = t.x_stride;
  const std::int64_t panel_bytes = t.panel_bytes;
  const std::byte* step = t.panels + t.first_input / Panel::kStep * Panel::kStepBytes;
  const float* x = t.x + t.first_input;
  const float* const x_end = t.x + t.last_input;
  for (; x + Panel::kStep <= x_end; x += Panel::kStep, step += Panel::kStepBytes) {
    HWY_UNROLL(8)
    for (int p = 0; p < kPanels; ++p) hwy::Prefetch(step + p * panel_bytes + kPrefetchBytes);
    MultiplyInput<Panel, 0>(x, x_stride, step, panel_bytes, sums);
    if constexpr (Panel::kStep == 2) MultiplyInput<Panel, 1>(x, x_stride, step, panel_bytes, sums);
  }
  // The last of an odd number of bf16 inputs: its partner's weight is 0, but x there could be NaN.
  if (Panel::kStep == 2 && x < x_end) MultiplyInput<Panel, 0>(x, x_stride, step, panel_bytes, sums);

  ForEachVector<kPanels, kRows>([&](int r, int p, int v, std::int64_t place)
                                    HWY_ATTR { hn::Store(sums.line[r][p][v], f, t.sums + place); });
}

using TileKernel = void (*)(const TileArgs&);

// The tile of `rows` x kSlabPanels.
template <class Panel, int kRows = kTileRows>
TileKernel SlabTileOf(int rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return SlabTileOf<Panel, kRows - 1>(rows);
  }
  return &Tile<Panel, kSlabPanels, kRows>;
}

// The tile of `rows` x PanelsFor(rows).
template <class Panel, int kRows = kTileRows>
TileKernel NarrowTileOf(int rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return NarrowTileOf<Panel, kRows - 1>(rows);
  }
  return &Tile<Panel, PanelsFor(kRows), kRows>;
}

// sums [rows][panels][16] + bias into y, as args.then says; sums of padding panels go nowhere.
inline HWY_NOINLINE void Finish(const LinearArgs& args, const LinearBlock& tile,
                                const float* sums) {
  const F f;
  const std::int64_t first = tile.first_panel * kLine;
  const std::int64_t last = std::min(tile.last_panel, args.panel_count) * kLine;
  const std::int64_t stride = (tile.last_panel - tile.first_panel) * kLine;
  for (std::int64_t row = tile.first_row; row < tile.last_row; ++row, sums += stride) {
    float* y = args.y + row * args.y_stride;
    for (std::int64_t o = first; o < last; o += kLanes) {
      const V p = hn::Add(hn::Load(f, sums + o - first), hn::Load(f, args.bias + o));
      switch (args.then) {
        case backend::Then::kStore:
          hn::Store(p, f, y + o);
          break;
        case backend::Then::kAdd:
          hn::Store(hn::Add(hn::Load(f, y + o), p), f, y + o);
          break;
        case backend::Then::kGelu:
          hn::Store(Gelu(p), f, y + o);
          break;
      }
    }
  }
}

inline TileArgs TileAt(const LinearArgs& args, std::int64_t panel, std::int64_t row) {
  return {.x = args.x + row * args.x_stride,
          .x_stride = args.x_stride,
          .panels = args.panels + panel * args.panel_bytes,
          .panel_bytes = args.panel_bytes,
          .first_input = 0,
          .last_input = args.inputs};
}

// Rows that fit one tile: all of w passes once.
template <class Panel>
void FewRows(const LinearArgs& args, const LinearBlock& block) {
  HWY_ALIGN float sums[kAccumulators * kLine];  // of any tile: P R <= kAccumulators
  const int rows = static_cast<int>(block.last_row - block.first_row);
  const int wide = PanelsFor(rows);
  LinearBlock tile = block;
  for (; tile.first_panel < block.last_panel; tile.first_panel = tile.last_panel) {
    const bool whole = tile.first_panel + wide <= block.last_panel;
    tile.last_panel = tile.first_panel + (whole ? wide : kSlabPanels);
    TileArgs t = TileAt(args, tile.first_panel, block.first_row);
    t.sums = sums;
    (whole ? NarrowTileOf<Panel>(rows) : SlabTileOf<Panel>(rows))(t);
    Finish(args, tile, sums);
  }
}

// The slab of `block`, which is kSlabPanels wide.
template <class Panel>
void Slab(const LinearArgs& args, const LinearBlock& block) {
  HWY_ALIGN float sums[kSlabRows * kSlabPanels * kLine];
  const std::int64_t rows = block.last_row - block.first_row;
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;  // of equal height, give or take 1
  for (std::int64_t k = 0; k < args.inputs; k += kBlockInputs) {
    for (std::int64_t i = 0; i < tiles; ++i) {
      LinearBlock tile = block;
      tile.first_row = block.first_row + rows * i / tiles;
      tile.last_row = block.first_row + rows * (i + 1) / tiles;
      TileArgs t = TileAt(args, block.first_panel, tile.first_row);
      t.first_input = k;
      t.last_input = std::min(k + kBlockInputs, args.inputs);
      t.sums = sums + (tile.first_row - block.first_row) * kSlabPanels * kLine;
      SlabTileOf<Panel>(static_cast<int>(tile.last_row - tile.first_row))(t);
      if (t.last_input == args.inputs) Finish(args, tile, t.sums);
    }
  }
}

template <class Panel>
void LinearPart(const LinearArgs& args, const LinearBlock& block) {
  if (block.last_row - block.first_row <= kTileRows) return FewRows<Panel>(args, block);
  LinearBlock part = block;
  for (; part.first_panel < block.last_panel; part.first_panel = part.last_panel) {
    part.last_panel = part.first_panel + kSlabPanels;
    Slab<Panel>(args, part);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // CODEGEN_CPU_LINEAR_INL_H_
