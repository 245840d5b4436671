// SPDX-License-Identifier: Apache-2.0
//
// Linear with int4 weights (quant/format.h; pack.h has the layout).
//
// kFast: per group of inputs the integer sum of q x, then y += scale sum + minimum (sum of x), in
// ascending groups; x_scale and bias last. kExact: float32 activations times (q scale + minimum).
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear_int4.cc"
#include <hwy/foreach_target.h>
//
#include "cpu/linear-inl.h"
#include "cpu/linear_int-inl.h"
#include "cpu/pack.h"
#include "quant/format.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

constexpr std::int64_t kGroup = quant::kInt4Group;

HWY_INLINE VU LowNibbles(VU w) { return hn::And(w, hn::Set(U(), 0x0F0F0F0FU)); }
HWY_INLINE VU HighNibbles(VU w) { return LowNibbles(hn::ShiftRight<4>(w)); }

// Scales (which = 0) or minima (1) of a group for the outputs of vector v.
HWY_INLINE V ScalesAt(const std::byte* group, int which, int v) {
  const hn::Rebind<hwy::float16_t, F> half;
  const auto* halves =
      reinterpret_cast<const hwy::float16_t*>(group + kInt4GroupLines * kLineBytes);
  return hn::PromoteTo(F(), hn::Load(half, halves + which * kLine + v * kLanes));
}

struct Int4Widened {
  static constexpr int kStep = static_cast<int>(kGroup);
  static constexpr int kStepBytes = static_cast<int>(kInt4GroupBytes);

  // All of a group, whatever `inputs` says: the buffer has room, and the tile stops in time.
  static void Widen(const std::byte* group, std::int64_t, float* out) {
    for (int v = 0; v < kVectors; ++v) {
      const V scale = ScalesAt(group, 0, v);
      const V minimum = ScalesAt(group, 1, v);
      for (std::int64_t line = 0; line < kInt4GroupLines; ++line) {
        const auto* dwords = reinterpret_cast<const std::uint32_t*>(group + line * 64) + v * kLanes;
        const VU w = hn::Load(U(), dwords);
        float* lane = out + line * 8 * kLine + v * kLanes;
        WidenFour(LowNibbles(w), scale, minimum, lane);
        WidenFour(HighNibbles(w), scale, minimum, lane + 4 * kLine);
      }
    }
  }

 private:
  static HWY_INLINE void WidenFour(VU q, V scale, V minimum, float* lane) {
    Store(q, scale, minimum, lane);
    Store(hn::ShiftRight<8>(q), scale, minimum, lane + kLine);
    Store(hn::ShiftRight<16>(q), scale, minimum, lane + 2 * kLine);
    Store(hn::ShiftRight<24>(q), scale, minimum, lane + 3 * kLine);
  }
  static HWY_INLINE void Store(VU q, V scale, V minimum, float* lane) {
    const V steps = hn::ConvertTo(F(), hn::BitCast(I(), hn::And(q, hn::Set(U(), 0x0FU))));
    hn::Store(hn::MulAdd(steps, scale, minimum), F(), lane);  // the product is exact
  }
};

template <int kPanels, int kRows>
struct Int4Tile {
  static HWY_NOINLINE void Run(const TileArgs& t) {
    auto* const memory = reinterpret_cast<float*>(t.sums);
    if (!t.resume) std::fill_n(memory, kRows * kPanels * kLine, 0.0F);
    const std::byte* group = t.panels;
    const std::byte* x = t.x;
    const std::byte* group_sums = t.group_sums;
    for (std::int64_t k = 0; k < t.inputs; k += kGroup) {
      Group(x, t.x_stride, group, t.panel_bytes, group_sums, memory);
      x += kGroup;
      group += kInt4GroupBytes;
      group_sums += sizeof(float);
    }
  }

 private:
  static HWY_INLINE void Group(const std::byte* x, std::int64_t x_stride, const std::byte* group,
                               std::int64_t panel_bytes, const std::byte* group_sums,
                               float* memory) {
    IntSums<kPanels, kRows> sums;
    sums.Clear();
    for (std::int64_t line = 0; line < kInt4GroupLines; ++line) {
      const std::byte* at = group + line * 64;
      PrefetchLines<kPanels>(at, panel_bytes);
      DotLine(
          x + line * 8, x_stride, at, panel_bytes, [](VU w) HWY_ATTR { return LowNibbles(w); },
          sums);
      DotLine(
          x + line * 8 + 4, x_stride, at, panel_bytes, [](VU w) HWY_ATTR { return HighNibbles(w); },
          sums);
    }
    for (int p = 0; p < kPanels; ++p) {
      for (int v = 0; v < kVectors; ++v) {
        const V scale = ScalesAt(group + p * panel_bytes, 0, v);
        const V minimum = ScalesAt(group + p * panel_bytes, 1, v);
        for (int r = 0; r < kRows; ++r) {
          const float x_sum = *reinterpret_cast<const float*>(group_sums + r * x_stride);
          float* place = memory + (r * kPanels + p) * kLine + v * kLanes;
          // Not fused: the same bits on CPUs without such an instruction.
          const V from_minimum = hn::Mul(minimum, hn::Set(F(), x_sum));
          const V from_steps = hn::Mul(hn::ConvertTo(F(), sums.line[r][p][v]), scale);
          const V before = hn::Load(F(), place);
          hn::Store(hn::Add(hn::Add(before, from_minimum), from_steps), F(), place);
        }
      }
    }
  }
};

void FinishInt4(const LinearArgs& args, const LinearBlock& tile, const std::byte* memory) {
  const auto* sums = reinterpret_cast<const float*>(memory);
  ForEachOutput(args, tile, [&](std::int64_t row, std::int64_t place, std::int64_t) HWY_ATTR {
    const float scale = *reinterpret_cast<const float*>(args.x_scale + row * args.x_stride);
    return hn::Mul(hn::Load(F(), sums + place), hn::Set(F(), scale));
  });
}

LinearKernel LinearInt4() { return KernelOf<Int4Widened>(); }
LinearKernel LinearInt4Fast() {
  return IntKernelOf<Int4Tile>(kGroup, kInt4GroupBytes, &FinishInt4);
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(LinearInt4);
HWY_EXPORT(LinearInt4Fast);

void AddLinearInt4(Kernels& kernels) {
  kernels.linear_int4 = CODEGEN_VERSION_FOR(kernels.level, LinearInt4)();
  kernels.linear_int4_fast = CODEGEN_VERSION_FOR(kernels.level, LinearInt4Fast)();
}

}  // namespace codegen::cpu
#endif
