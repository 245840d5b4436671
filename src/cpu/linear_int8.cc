// SPDX-License-Identifier: Apache-2.0
//
// Linear with int8 weights (quant/format.h; pack.h has the layout: u8 = q + 128).
//
// kFast: y = (sum of u8 s8 - 128 total(x)) x_scale w_scale + bias, the bracket in exact integers.
// kExact: float32 activations times q, the scale of the output last.
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear_int8.cc"
#include <hwy/foreach_target.h>
//
#include "cpu/linear-inl.h"
#include "cpu/linear_int-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

struct Int8Widened {
  static constexpr int kStep = 4;
  static constexpr int kStepBytes = 64;

  static void Widen(const std::byte* line, std::int64_t inputs, float* out) {
    for (std::int64_t k = 0; k < inputs; k += kStep, line += kStepBytes) {
      for (int v = 0; v < kVectors; ++v) {
        const auto* dwords = reinterpret_cast<const std::uint32_t*>(line) + v * kLanes;
        const auto q = hn::BitCast(I(), hn::Xor(hn::Load(U(), dwords), hn::Set(U(), 0x80808080U)));
        float* lane = out + k * kLine + v * kLanes;
        Store(hn::ShiftLeft<24>(q), lane);
        Store(hn::ShiftLeft<16>(q), lane + kLine);
        Store(hn::ShiftLeft<8>(q), lane + 2 * kLine);
        Store(q, lane + 3 * kLine);
      }
    }
  }

 private:
  // The top byte of each lane, as floats.
  static HWY_INLINE void Store(VI q, float* lane) {
    hn::Store(hn::ConvertTo(F(), hn::ShiftRight<24>(q)), F(), lane);
  }
};

template <int kPanels, int kRows>
struct Int8Tile {
  static HWY_NOINLINE void Run(const TileArgs& t) {
    auto* const memory = reinterpret_cast<std::int32_t*>(t.sums);
    IntSums<kPanels, kRows> sums;
    sums.Clear();
    const std::byte* line = t.panels;
    const std::byte* x = t.x;
    for (const std::byte* const end = x + t.inputs; x < end; x += 4, line += 64) {
      PrefetchLines<kPanels>(line, t.panel_bytes);
      DotLine(
          x, t.x_stride, line, t.panel_bytes, [](VU w) HWY_ATTR { return w; }, sums);
    }
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < kPanels; ++p) {
        for (int v = 0; v < kVectors; ++v) {
          std::int32_t* place = memory + (r * kPanels + p) * kLine + v * kLanes;
          const VI before = t.resume ? hn::Load(I(), place) : hn::Zero(I());
          hn::Store(hn::Add(before, sums.line[r][p][v]), I(), place);
        }
      }
    }
  }
};

void FinishInt8(const LinearArgs& args, const LinearBlock& tile, const std::byte* memory) {
  const auto* sums = reinterpret_cast<const std::int32_t*>(memory);
  ForEachOutput(args, tile, [&](std::int64_t row, std::int64_t place, std::int64_t o) HWY_ATTR {
    const std::int64_t down = row * args.x_stride;
    const std::int32_t total = *reinterpret_cast<const std::int32_t*>(args.x_total + down);
    const float scale = *reinterpret_cast<const float*>(args.x_scale + down);
    const VI sum = hn::Sub(hn::Load(I(), sums + place), hn::Set(I(), 128 * total));
    return hn::Mul(hn::ConvertTo(F(), sum),
                   hn::Mul(hn::Set(F(), scale), hn::Load(F(), args.w_scale + o)));
  });
}

LinearKernel LinearInt8() { return KernelOf<Int8Widened, Scaled::kByOutput>(); }
LinearKernel LinearInt8Fast() { return IntKernelOf<Int8Tile>(4, 64, &FinishInt8); }

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(LinearInt8);
HWY_EXPORT(LinearInt8Fast);

void AddLinearInt8(Kernels& kernels) {
  kernels.linear_int8 = CODEGEN_VERSION_FOR(kernels.level, LinearInt8)();
  kernels.linear_int8_fast = CODEGEN_VERSION_FOR(kernels.level, LinearInt8Fast)();
}

}  // namespace codegen::cpu
#endif
