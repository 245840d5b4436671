// SPDX-License-Identifier: Apache-2.0
//
// Tiles of Linear (linear.h) with float32 activations, for every instruction set: fused
// multiply-adds on weights widened to float32, exactly.
//
// Formats with a short way from memory to a float (f32, bf16, f16) are widened line by line in
// registers. int8 and int4 are widened in blocks into a buffer in the L1 cache, over which the f32
// tile then runs: kExact on quantised weights is for checking and for the cautious, not for speed.
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

#include "cpu/finish-inl.h"
#include "cpu/linear.h"
#include "cpu/prefetch.h"
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

// Panels of a tile of so few rows that w comes from memory.
constexpr int PanelsFor(int rows) {
  const int limit = rows <= 2 ? 16 : kAccumulators;
  int panels = 8;
  while (panels > 1 && panels * rows * kVectors > limit) panels /= 2;
  return panels;
}

// A tile's sums in registers.
template <int kPanels, int kRows>
struct Sums {
  HWY_INLINE Sums() {}  // one not written out would lack the instruction set that V needs
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
  auto* const memory = reinterpret_cast<float*>(t.sums);
  Sums<kPanels, kRows> sums;
  ForEachVector<kPanels, kRows>([&](int r, int p, int v, std::int64_t place) HWY_ATTR {
    sums.line[r][p][v] = t.resume ? hn::Load(f, memory + place) : hn::Zero(f);
  });

  const std::int64_t x_stride = t.x_stride / static_cast<std::int64_t>(sizeof(float));
  const std::int64_t panel_bytes = t.panel_bytes;
  const std::byte* step = t.panels;
  const float* x = reinterpret_cast<const float*>(t.x);
  const float* const x_end = x + t.inputs;
  for (; x + Panel::kStep <= x_end; x += Panel::kStep, step += Panel::kStepBytes) {
    HWY_UNROLL(8)
    for (int p = 0; p < kPanels; ++p) PrefetchWeights<kPanels>(step + p * panel_bytes);
    MultiplyInput<Panel, 0>(x, x_stride, step, panel_bytes, sums);
    if constexpr (Panel::kStep == 2) MultiplyInput<Panel, 1>(x, x_stride, step, panel_bytes, sums);
  }
  // The last of an odd number of bf16 inputs: its partner's weight is 0, but x there could be NaN.
  if (Panel::kStep == 2 && x < x_end) MultiplyInput<Panel, 0>(x, x_stride, step, panel_bytes, sums);

  ForEachVector<kPanels, kRows>([&](int r, int p, int v, std::int64_t place)
                                    HWY_ATTR { hn::Store(sums.line[r][p][v], f, memory + place); });
}

constexpr std::int64_t kWidenInputs = 128;  // 8 panels of them are 64 KiB

// A format that cannot be widened on the fly: Widened::Widen(step, inputs, out) writes `inputs` <=
// kWidenInputs inputs of a panel as [inputs][16] floats.
template <class Widened, int kPanels, int kRows>
HWY_NOINLINE void WidenedTile(const TileArgs& t) {
  static_assert(kWidenInputs % Widened::kStep == 0);
  constexpr std::int64_t kPanelFloats = kWidenInputs * kLine;
  HWY_ALIGN float floats[kPanels * kPanelFloats];
  TileArgs part = t;
  part.panels = reinterpret_cast<const std::byte*>(floats);
  part.panel_bytes = kPanelFloats * static_cast<std::int64_t>(sizeof(float));
  for (std::int64_t k = 0; k < t.inputs; k += kWidenInputs) {
    part.inputs = std::min(kWidenInputs, t.inputs - k);
    for (int p = 0; p < kPanels; ++p) {
      Widened::Widen(t.panels + p * t.panel_bytes + k / Widened::kStep * Widened::kStepBytes,
                     part.inputs, floats + p * kPanelFloats);
    }
    part.x = t.x + k * static_cast<std::int64_t>(sizeof(float));
    part.resume = t.resume || k > 0;
    Tile<F32Panel, kPanels, kRows>(part);
  }
}

// The tile of a format.
template <class Panel, int kPanels, int kRows>
constexpr TileKernel TileOf() {
  if constexpr (requires { &Panel::Widen; }) {
    return &WidenedTile<Panel, kPanels, kRows>;
  } else {
    return &Tile<Panel, kPanels, kRows>;
  }
}

// sums + bias into y, as args.then says; with kScaled the sums are first multiplied by the scales
// of the outputs.
enum class Scaled { kNo, kByOutput };

template <Scaled kScaled>
HWY_NOINLINE void Finish(const LinearArgs& args, const LinearBlock& tile, const std::byte* memory) {
  const F f;
  const auto* sums = reinterpret_cast<const float*>(memory);
  ForEachOutput(args, tile, [&](std::int64_t, std::int64_t place, std::int64_t o) HWY_ATTR {
    V sum = hn::Load(f, sums + place);
    if constexpr (kScaled == Scaled::kByOutput) sum = hn::Mul(sum, hn::Load(f, args.w_scale + o));
    return sum;
  });
}

template <class Panel, int kRows>
void FillTiles(LinearKernel& kernel) {
  kernel.slab[kRows] = TileOf<Panel, kSlabPanels, kRows>();
  kernel.few[kRows] = TileOf<Panel, PanelsFor(kRows), kRows>();
  kernel.few_panels[kRows] = PanelsFor(kRows);
  if constexpr (kRows > 1) FillTiles<Panel, kRows - 1>(kernel);
}

template <class Panel, Scaled kScaled = Scaled::kNo>
LinearKernel KernelOf() {
  LinearKernel kernel{.activations = Activations::kF32,
                      .step_inputs = Panel::kStep,
                      .step_bytes = Panel::kStepBytes,
                      .block_inputs = kBlockInputs,
                      .tile_rows = kTileRows,
                      .few_rows = kTileRows,
                      .slab_panels = kSlabPanels,
                      .finish = &Finish<kScaled>};
  FillTiles<Panel, kTileRows>(kernel);
  return kernel;
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // CODEGEN_CPU_LINEAR_INL_H_
