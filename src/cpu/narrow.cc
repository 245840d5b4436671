// SPDX-License-Identifier: Apache-2.0
//
// Rows of activations in the types that the products of kFast multiply (linear.h): bf16, rounded to
// nearest even, and int8 as quant/format.h says, with the sums that the kernels of int8 and int4
// weights need. Two passes over a row that lies in L1 or L2; the thread owns the row.
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/narrow.cc"
#include <hwy/foreach_target.h>
//
#include <algorithm>
#include <bit>
#include <limits>

#include "cpu/vectors-inl.h"
#include "quant/format.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

constexpr std::int64_t kPadding = 64;  // elements that a kernel may read at a time

// The part of a row that lies before its end, zeros behind it.
HWY_INLINE V LoadInside(const float* x, std::int64_t k, std::int64_t columns) {
  if (k + kLanes <= columns) return hn::Load(F(), x + k);
  const auto left = static_cast<std::size_t>(std::max<std::int64_t>(0, columns - k));
  return hn::IfThenElseZero(hn::FirstN(F(), left),
                            hn::Load(F(), x + std::min(k, columns / kLanes * kLanes)));
}

void NarrowToBf16(const float* x, std::int64_t columns, const NarrowRow& row) {
  const hn::Rebind<std::uint16_t, F> half;
  auto* const out = reinterpret_cast<std::uint16_t*>(row.elements);
  const std::int64_t padded = (columns + kPadding - 1) / kPadding * kPadding;
  for (std::int64_t k = 0; k < padded; k += kLanes)
    hn::Store(RoundToBf16(LoadInside(x, k, columns)), half, out + k);
}

void NarrowToInt8(const float* x, std::int64_t columns, const NarrowRow& row) {
  const I i;
  const hn::Rebind<std::int8_t, F> bytes;
  auto* const out = reinterpret_cast<std::int8_t*>(row.elements);
  const std::uint32_t bits =
      LargestMagnitude(columns, [&](std::int64_t k) HWY_ATTR { return LoadInside(x, k, columns); });
  const float largest = std::bit_cast<float>(bits);
  const bool finite = bits < kInfinity;
  const bool zero = largest < quant::kLeastInt8;
  *row.scale = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0.0F : largest / 127.0F;
  const V factor = hn::Set(F(), finite && !zero ? 127.0F / largest : 0.0F);
  // So large that the last bit of its sum with a number of less than 2^22 is worth 1.
  const V rounder = hn::Set(F(), 0x1.8p23F);
  std::int32_t total = 0;
  static_assert(quant::kInt4Group % kPadding == 0 || kPadding % quant::kInt4Group == 0);
  for (std::int64_t first = 0; first < columns; first += quant::kInt4Group) {
    auto sum = hn::Zero(i);
    for (std::int64_t k = first; k < first + quant::kInt4Group; k += kLanes) {
      const V value = finite ? LoadInside(x, k, columns) : hn::Zero(F());
      const V rounded = hn::Add(hn::Mul(value, factor), rounder);
      const auto q = hn::Sub(hn::BitCast(i, rounded), hn::BitCast(i, rounder));
      sum = hn::Add(sum, q);
      hn::Store(hn::DemoteTo(bytes, q), bytes, out + k);
    }
    const std::int32_t group = hn::GetLane(hn::SumOfLanes(i, sum));
    row.group_sums[first / quant::kInt4Group] = static_cast<float>(group);
    total += group;
  }
  *row.total = total;
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(NarrowToBf16);
HWY_EXPORT(NarrowToInt8);

void AddNarrow(Kernels& kernels) {
  kernels.narrow_to_bf16 = CODEGEN_VERSION_FOR(kernels.level, NarrowToBf16);
  kernels.narrow_to_int8 = CODEGEN_VERSION_FOR(kernels.level, NarrowToInt8);
}

}  // namespace codegen::cpu
#endif
