// SPDX-License-Identifier: Apache-2.0
//
// Tiles of Linear (linear.h) with activations in int8, for every instruction set: u8 weights times
// s8 activations, four at a time, into int32. The sums are exact, so all of them agree with each
// other and with the instructions made for it (linear_dot.cc).
//
// The unit is a line of a panel: for 16 outputs one dword each of four unsigned weights, beside
// which stands a broadcast dword of four signed activations. x86 multiplies 16-bit pairs
// (vpmaddwd): the even and the odd bytes of a dword each make one.
#if defined(CODEGEN_CPU_LINEAR_INT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CODEGEN_CPU_LINEAR_INT_INL_H_
#undef CODEGEN_CPU_LINEAR_INT_INL_H_
#else
#define CODEGEN_CPU_LINEAR_INT_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/finish-inl.h"
#include "cpu/linear.h"
#include "cpu/prefetch.h"
#include "cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

using VU = hn::Vec<U>;
using VI = hn::Vec<I>;

constexpr int kIntAccumulators =
    HWY_CAP_GE512 || HWY_ARCH_ARM_A64 ? 16 : 8;  // of 32 or 16 registers
constexpr int kIntSlabPanels = HWY_CAP_GE512 ? 2 : 1;
constexpr int kIntTileRows = std::max(1, kIntAccumulators / (kIntSlabPanels * kVectors));

constexpr int IntPanelsFor(int rows) {
  int panels = 8;
  while (panels > 1 && panels * rows * kVectors > kIntAccumulators) panels /= 2;
  return panels;
}

// Four activations in every lane.
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR

using Words = hn::Repartition<std::int16_t, F>;

struct Four {
  hn::Vec<Words> even, odd;
};

HWY_INLINE Four Broadcast(std::int32_t four) {
  const auto words = hn::BitCast(Words(), hn::Set(I(), four));
  return {hn::ShiftRight<8>(hn::ShiftLeft<8>(words)), hn::ShiftRight<8>(words)};
}

// sum + the dot product of each lane's four u8 of `w` and four s8 of `x`.
HWY_INLINE VI Dot(VU w, const Four& x, VI sum) {
  const hn::RebindToUnsigned<Words> unsigned_words;
  const auto words = hn::BitCast(unsigned_words, w);
  const auto even = hn::BitCast(Words(), hn::And(words, hn::Set(unsigned_words, 0xFF)));
  const auto odd = hn::BitCast(Words(), hn::ShiftRight<8>(words));
  VI unused = hn::Zero(I());
  sum = hn::ReorderWidenMulAccumulate(I(), even, x.even, sum, unused);  // vpmaddwd: keeps lanes
  return hn::ReorderWidenMulAccumulate(I(), odd, x.odd, sum, unused);
}

#else

struct Four {
  HWY_INLINE Four() {}  // as in Sums of linear-inl.h
  VI x[4];
};

HWY_INLINE Four Broadcast(std::int32_t four) {
  const VI all = hn::Set(I(), four);
  Four four_lanes;
  four_lanes.x[0] = hn::ShiftRight<24>(hn::ShiftLeft<24>(all));
  four_lanes.x[1] = hn::ShiftRight<24>(hn::ShiftLeft<16>(all));
  four_lanes.x[2] = hn::ShiftRight<24>(hn::ShiftLeft<8>(all));
  four_lanes.x[3] = hn::ShiftRight<24>(all);
  return four_lanes;
}

HWY_INLINE VI Dot(VU w, const Four& x, VI sum) {
  const auto low = hn::Set(U(), 0xFFU);
  sum = hn::Add(sum, hn::Mul(hn::BitCast(I(), hn::And(w, low)), x.x[0]));
  sum = hn::Add(sum, hn::Mul(hn::BitCast(I(), hn::And(hn::ShiftRight<8>(w), low)), x.x[1]));
  sum = hn::Add(sum, hn::Mul(hn::BitCast(I(), hn::And(hn::ShiftRight<16>(w), low)), x.x[2]));
  return hn::Add(sum, hn::Mul(hn::BitCast(I(), hn::ShiftRight<24>(w)), x.x[3]));
}

#endif

HWY_INLINE std::int32_t FourAt(const std::byte* x) {
  std::int32_t four;
  std::memcpy(&four, x, sizeof(four));
  return four;
}

template <int kPanels, int kRows>
struct IntSums {
  HWY_INLINE IntSums() {}  // as in Sums
  VI line[kRows][kPanels][kVectors];

  void HWY_INLINE Clear() {
    for (auto& row : line)
      for (auto& panel : row)
        for (VI& sum : panel) sum = hn::Zero(I());
  }
};

// Adds x[r] w[p] for the four inputs of a line, of which weights(v, line) makes u8.
template <int kPanels, int kRows, class Weights>
HWY_INLINE void DotLine(const std::byte* x, std::int64_t x_stride, const std::byte* line,
                        std::int64_t panel_bytes, const Weights& weights,
                        IntSums<kPanels, kRows>& sums) {
  const U u;
  Four row[kRows];
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) row[r] = Broadcast(FourAt(x + r * x_stride));
  HWY_UNROLL(8)
  for (int p = 0; p < kPanels; ++p) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      const auto* dwords = reinterpret_cast<const std::uint32_t*>(line + p * panel_bytes);
      const VU w = weights(hn::Load(u, dwords + v * kLanes));
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) sums.line[r][p][v] = Dot(w, row[r], sums.line[r][p][v]);
    }
  }
}

template <int kPanels>
HWY_INLINE void PrefetchLines(const std::byte* line, std::int64_t panel_bytes) {
  HWY_UNROLL(8)
  for (int p = 0; p < kPanels; ++p) PrefetchWeights<kPanels>(line + p * panel_bytes);
}

template <template <int, int> class TileOf, int kRows>
void FillIntTiles(LinearKernel& kernel) {
  kernel.slab[kRows] = &TileOf<kIntSlabPanels, kRows>::Run;
  kernel.few[kRows] = &TileOf<IntPanelsFor(kRows), kRows>::Run;
  kernel.few_panels[kRows] = IntPanelsFor(kRows);
  if constexpr (kRows > 1) FillIntTiles<TileOf, kRows - 1>(kernel);
}

template <template <int, int> class TileOf>
LinearKernel IntKernelOf(std::int64_t step_inputs, std::int64_t step_bytes, FinishKernel finish) {
  LinearKernel kernel{.activations = Activations::kInt8,
                      .step_inputs = step_inputs,
                      .step_bytes = step_bytes,
                      .block_inputs = 1024,
                      .tile_rows = kIntTileRows,
                      .few_rows = kIntTileRows,
                      .slab_panels = kIntSlabPanels,
                      .finish = finish};
  FillIntTiles<TileOf, kIntTileRows>(kernel);
  return kernel;
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // CODEGEN_CPU_LINEAR_INT_INL_H_
