// SPDX-License-Identifier: Apache-2.0
//
// Packing of weights (pack.h) and of embedding rows, in whatever type they were read: WeightRows
// [count <= 16, columns] become a panel. What the formats are is in quant/format.h; the result is
// the same to the bit on every level.
//
// Blocks of all rows are narrowed into a buffer of a few KiB, in which the elements that share a
// word of the panel are neighbours; then the block is turned over (rows-inl.h), its words go to
// their lines, and the lines to the panel. Read once from L2, and twice for int8; written once: 2
// or 4 bytes in and 0.5 to 4 out per weight. At 2 bytes in, int8, bf16 and f16 take 0.1 to 0.16 ns
// per weight on Zen 4, int4 1.06: it is bound by its fit.
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/pack_rows.cc"
#include <hwy/foreach_target.h>
//
#include <algorithm>
#include <bit>
#include <limits>

#include "cpu/pack.h"
#include "cpu/rows-inl.h"
#include "quant/format.h"
#include "tensor/half.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

constexpr std::int64_t kBlock = 256;  // inputs
constexpr std::int64_t kGroup = quant::kInt4Group;
constexpr auto kShorts = static_cast<std::int64_t>(hn::MaxLanes(hn::CappedTag<std::int16_t, 32>()));

// The functions below write whole vectors: `out` has room for a line more.

template <class Row>
void ToF32(const Row& row, float* out) {
  row.ForEach([&](std::int64_t k, V v) HWY_ATTR { hn::StoreU(v, F(), out + k); });
}

template <class Row>
void ToBf16(const Row& row, std::uint16_t* out) {
  const hn::Rebind<std::uint16_t, F> half;
  row.ForEach([&](std::int64_t k, V v) HWY_ATTR { hn::StoreU(RoundToBf16(v), half, out + k); });
}

// tensor::F16FromFloat with its branches selected.
template <class Row>
void ToF16(const Row& row, std::uint16_t* out) {
  const I i;
  const hn::Rebind<std::uint16_t, F> half;
  row.ForEach([&](std::int64_t k, V v) HWY_ATTR {
    const auto bits = hn::BitCast(i, v);
    const auto magnitude = hn::And(bits, hn::Set(i, 0x7FFFFFFF));
    const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(i, 0x8000));
    const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(i, 1));
    const auto shifted = hn::Add(magnitude, hn::Add(odd, hn::Set(i, 0xFFF - 0x38000000)));
    const auto small =
        hn::Sub(hn::BitCast(i, hn::Add(hn::BitCast(F(), magnitude), hn::Set(F(), 0.5F))),
                hn::Set(i, 0x3F000000));
    auto result = hn::ShiftRight<13>(shifted);
    result = hn::IfThenElse(hn::Lt(magnitude, hn::Set(i, 0x38800000)), small, result);
    result = hn::IfThenElse(hn::Lt(magnitude, hn::Set(i, 0x477FF000)), result, hn::Set(i, 0x7C00));
    result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(i, 0x7F800000)), hn::Set(i, 0x7E00), result);
    hn::StoreU(hn::DemoteTo(half, hn::Or(sign, result)), half, out + k);
  });
}

// What is float16 already stays as it is, but for the payload of NaN.
void ToF16(const RowOf<StoredF16>& row, std::uint16_t* out) {
  const hn::Rebind<std::int16_t, F> s;
  const hn::Rebind<std::uint16_t, F> half;
  for (std::int64_t k = 0; k < row.count(); k += kLanes) {
    const auto bits = hn::BitCast(s, row.BitsAt(k));
    const auto is_nan = hn::Gt(hn::And(bits, hn::Set(s, 0x7FFF)), hn::Set(s, 0x7C00));
    const auto nan = hn::Or(hn::And(bits, hn::Set(s, -0x8000)), hn::Set(s, 0x7E00));
    hn::StoreU(hn::BitCast(half, hn::IfThenElse(is_nan, nan, bits)), half, out + k);
  }
}

// Scale of a row of int8, and what its elements are multiplied by: quant::QuantizeInt8.
struct Int8Scale {
  float scale = 0;
  float factor = 0;  // 0: all elements become 0, NaN too
};

template <class Row>
Int8Scale ScaleOf(const Row& row) {
  const std::uint32_t bits = row.LargestBits();
  const float largest = std::bit_cast<float>(bits);
  if (bits >= kInfinity) return {.scale = std::numeric_limits<float>::quiet_NaN()};
  if (largest < quant::kLeastInt8) return {};
  return {.scale = largest / 127.0F, .factor = 127.0F / largest};
}

// Added to a number of less than 2^22, it rounds that to an integer as NearestInt does, and leaves
// it in the low bits of the sum.
constexpr float kRounder = 0x1.8p23F;

// The low bytes of two vectors, in order.
HWY_INLINE auto LowBytes(V low, [[maybe_unused]] V high) {
  const hn::CappedTag<std::uint16_t, 32> u16;
  const hn::RebindToSigned<decltype(u16)> s16;
  const hn::Rebind<std::uint8_t, decltype(u16)> u8;
#if HWY_TARGET == HWY_SCALAR
  const auto halves = hn::DemoteTo(s16, hn::And(hn::BitCast(I(), low), hn::Set(I(), 0xFF)));
#else
  const auto even = hn::ConcatEven(u16, hn::BitCast(u16, high), hn::BitCast(u16, low));
  const auto halves = hn::BitCast(s16, hn::And(even, hn::Set(u16, 0xFF)));
#endif
  return hn::DemoteTo(u8, halves);
}

// q + offset, q = value * factor rounded, of which |q| <= 127; zeros and NaN for a factor of 0
// give the offset. Writes whole lines.
template <class Row>
void ToBytes(const Row& row, float factor, std::uint8_t offset, std::uint8_t* out) {
  const std::int64_t padded = RoundUpToLine(row.count());
  if (factor == 0) return static_cast<void>(std::fill_n(out, padded, offset));
  const hn::Rebind<std::uint8_t, hn::CappedTag<std::uint16_t, 32>> u8;
  const V factors = hn::Set(F(), factor);
  const V rounder = hn::Set(F(), kRounder + offset);
  const auto two = [&](std::int64_t k) HWY_ATTR {
    const V low = hn::Add(hn::Mul(row.At(k), factors), rounder);
    const V high = hn::Add(hn::Mul(row.At(k + kShorts - kLanes), factors), rounder);
    return LowBytes(low, high);
  };
  std::int64_t k = 0;
  for (; k + kShorts <= padded; k += kShorts) hn::StoreU(two(k), u8, out + k);
  if (k == padded) return;
  HWY_ALIGN std::uint8_t rest[2 * kLine];
  hn::Store(two(k), u8, rest);
  std::copy_n(rest, padded - k, out + k);
}

// An embedding row.
template <class Row>
float ToInt8(const Row& row, std::uint8_t* out) {
  const Int8Scale scale = ScaleOf(row);
  ToBytes(row, scale.factor, 0, out);
  return scale.scale;
}

// Packs blocks of each row by narrow(output, part, words), `per_word` inputs to a Word; what is
// left of the last word is zero where the narrowing leaves it so.
template <class Word, class Stored, class Narrow>
HWY_INLINE void PackWords(const RowsOf<Stored>& rows, std::int64_t per_word, Word* panel,
                          const Narrow& narrow) {
  HWY_ALIGN Block<Word, kBlock> block;
  block.ZeroFrom(rows.count());
  for (std::int64_t first = 0; first < rows.columns(); first += kBlock) {
    const std::int64_t count = std::min(kBlock, rows.columns() - first);
    const std::int64_t words = (count + per_word - 1) / per_word;
    for (std::int64_t o = 0; o < rows.count(); ++o) {
      block.row(o)[words - 1] = 0;
      narrow(o, rows[o].Part(first, count), block.row(o));
    }
    TurnOver(block, words, panel);
    panel += words * kLine;
  }
}

template <class Stored>
void PackInt8(const RowsOf<Stored>& rows, std::byte* panel, float* scales) {
  Int8Scale scale[kLine];
  for (std::int64_t o = 0; o < rows.count(); ++o) {
    scale[o] = ScaleOf(rows[o]);
    scales[o] = scale[o].scale;
  }
  PackWords(rows, 4, reinterpret_cast<std::uint32_t*>(panel),
            [&](std::int64_t o, const auto& row, std::uint32_t* words) HWY_ATTR {
              ToBytes(row, scale[o].factor, 128, reinterpret_cast<std::uint8_t*>(words));
            });
}

// Least and largest of a whole or partial group.
quant::Int4Range RangeOf(const float* group, std::int64_t count) {
  const F f;
  V least = hn::Set(f, group[0]);
  V largest = least;
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    const V v = hn::LoadU(f, group + k);
    least = hn::Min(least, v);
    largest = hn::Max(largest, v);
  }
  quant::Int4Range range = {hn::GetLane(hn::MinOfLanes(f, least)),
                            hn::GetLane(hn::MaxOfLanes(f, largest))};
  for (; k < count; ++k) {
    range.least = std::min(range.least, group[k]);
    range.largest = std::max(range.largest, group[k]);
  }
  return range;
}

// Vectors of positions of a group (quant/format.h).
using Short = hn::CappedTag<std::int16_t, 32>;

// A sum of products of shorts, in two parts: some instruction sets have use for the other.
class SumOfProducts {
 public:
  HWY_INLINE SumOfProducts() : sum_(hn::Zero(I())), other_(hn::Zero(I())) {}

  HWY_INLINE void Add(hn::Vec<Short> a, hn::Vec<Short> b) {
    sum_ = hn::ReorderWidenMulAccumulate(I(), a, b, sum_, other_);
  }
  HWY_INLINE std::int32_t Total() const {
    return hn::GetLane(hn::SumOfLanes(I(), hn::Add(sum_, other_)));
  }

 private:
  hn::Vec<I> sum_;
  hn::Vec<I> other_;
};

// Of kGroup positions. Levels and their squares share a sum, that of level (level - 2^15).
HWY_INLINE quant::Int4Sums SumLevels(const std::int16_t* positions, quant::Int4Levels levels) {
  const Short s;
  const hn::RebindToUnsigned<Short> u;
  SumOfProducts both;
  SumOfProducts products;
  for (std::int64_t k = 0; k < kGroup; k += kShorts) {
    const auto position = hn::Load(s, positions + k);
    const auto above = hn::Max(hn::Add(position, hn::Set(s, levels.offset)), hn::Zero(s));
    const auto high = hn::MulHigh(hn::BitCast(u, above), hn::Set(u, levels.factor));
    const auto level = hn::Min(hn::BitCast(s, hn::ShiftRight<9>(high)), hn::Set(s, 15));
    both.Add(level, hn::Or(level, hn::Set(s, -0x8000)));
    products.Add(level, position);
  }
  const std::int32_t sum = both.Total();
  return {.levels = -(sum >> 15), .squares = sum & 0x7FFF, .products = products.Total()};
}

// Two vectors, the lanes in any order, as shorts.
HWY_INLINE hn::Vec<Short> ToShorts(hn::Vec<I> a, [[maybe_unused]] hn::Vec<I> b) {
#if HWY_TARGET == HWY_SCALAR
  return hn::DemoteTo(Short(), a);
#else
  return hn::ReorderDemote2To(Short(), a, b);
#endif
}

// Positions of kGroup floats in any order, and their sum.
HWY_INLINE std::int32_t ToPositions(const float* group, quant::Int4Range range,
                                    std::int16_t* positions) {
  const F f;
  const Short s;
  const V least = hn::Set(f, range.least);
  const V factor = hn::Set(f, range.PositionFactor());
  const auto at = [&](std::int64_t k) HWY_ATTR {
    return hn::NearestInt(hn::Mul(hn::Sub(hn::LoadU(f, group + k), least), factor));
  };
  SumOfProducts sum;
  for (std::int64_t k = 0; k < kGroup; k += kShorts) {
    const auto pair = ToShorts(at(k), at(k + kShorts - kLanes));
    const auto position = hn::Max(pair, hn::Set(s, quant::kNoPosition));
    sum.Add(hn::Max(position, hn::Zero(s)), hn::Set(s, 1));
    hn::Store(position, s, positions + k);
  }
  return sum.Total();
}

quant::Int4Scale FittedScale(const float* group, std::int64_t count, quant::Int4Range range) {
  if (!range.CanFit()) return range.Whole();
  HWY_ALIGN float whole[kGroup];
  if (count < kGroup) {
    std::fill(std::copy_n(group, count, whole), whole + kGroup,
              -std::numeric_limits<float>::infinity());
    group = whole;
  }
  HWY_ALIGN std::int16_t positions[kGroup];
  quant::Int4Fit fit(range, count, ToPositions(group, range, positions));
  for (const quant::Int4Levels levels : quant::kTriedLevels) fit.Take(SumLevels(positions, levels));
  return fit.Scale();
}

// q [kGroup] of a group of finite numbers: quant::QuantizeInt4.
quant::Int4Scale ToInt4(const float* group, std::int64_t count, std::uint8_t* q) {
  const F f;
  const hn::Rebind<std::uint8_t, F> bytes;
  const quant::Int4Scale packed = FittedScale(group, count, RangeOf(group, count));
  const float scale = tensor::FloatFromF16(packed.scale);
  if (scale == 0) return packed;
  const V minimum = hn::Set(f, tensor::FloatFromF16(packed.minimum));
  const V factor = hn::Set(f, 1 / scale);
  RowOf<StoredF32>(group, count).ForEach([&](std::int64_t k, V v) HWY_ATTR {
    const V steps = hn::Mul(hn::Sub(v, minimum), factor);
    const V inside = hn::Min(hn::Max(steps, hn::Zero(f)), hn::Set(f, 15.0F));
    hn::StoreU(hn::DemoteTo(bytes, hn::NearestInt(inside)), bytes, q + k);
  });
  return packed;
}

template <class Row>
void PackInt4Part(const Row& part, std::int64_t o, std::byte* group) {
  HWY_ALIGN float floats[kGroup + kLine];
  HWY_ALIGN std::uint8_t q[kGroup + kLine] = {};
  ToF32(part, floats);
  const bool finite = LargestMagnitude(part.count(), [&](std::int64_t k) HWY_ATTR {
                        return hn::Load(F(), floats + k);
                      }) < kInfinity;
  const quant::Int4Scale scale = finite ? ToInt4(floats, part.count(), q) : quant::kNotFinite;
  std::fill(q + part.count(), q + kGroup, std::uint8_t{0});
  PackInt4Group(q, scale, o, group);
}

template <class Stored>
void PackInt4(const RowsOf<Stored>& rows, std::byte* panel) {
  for (std::int64_t first = 0; first < rows.columns(); first += kGroup) {
    std::byte* const group = panel + first / kGroup * kInt4GroupBytes;
    const std::int64_t count = std::min(kGroup, rows.columns() - first);
    for (std::int64_t o = 0; o < rows.count(); ++o)
      PackInt4Part(rows[o].Part(first, count), o, group);
  }
}

template <class Stored>
void PackRows(const RowsOf<Stored>& rows, WeightFormat format, std::byte* panel, float* scales) {
  switch (format) {
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      return PackWords(rows, 1, reinterpret_cast<std::uint32_t*>(panel),
                       [](std::int64_t, const auto& row, std::uint32_t* words)
                           HWY_ATTR { ToF32(row, reinterpret_cast<float*>(words)); });
    case WeightFormat::kBf16:
      return PackWords(rows, 2, reinterpret_cast<std::uint32_t*>(panel),
                       [](std::int64_t, const auto& row, std::uint32_t* words)
                           HWY_ATTR { ToBf16(row, reinterpret_cast<std::uint16_t*>(words)); });
    case WeightFormat::kF16:
      return PackWords(rows, 1, reinterpret_cast<std::uint16_t*>(panel),
                       [](std::int64_t, const auto& row, std::uint16_t* words)
                           HWY_ATTR { ToF16(row, words); });
    case WeightFormat::kInt8:
      return PackInt8(rows, panel, scales);
    case WeightFormat::kInt4:
      return PackInt4(rows, panel);
  }
}

template <class Row>
float ToEmbedding(const Row& row, WeightFormat format, std::byte* out) {
  switch (EmbeddingFormat(format)) {
    case WeightFormat::kBf16:
      ToBf16(row, reinterpret_cast<std::uint16_t*>(out));
      return 1;
    case WeightFormat::kF16:
      ToF16(row, reinterpret_cast<std::uint16_t*>(out));
      return 1;
    case WeightFormat::kInt8:
      return ToInt8(row, reinterpret_cast<std::uint8_t*>(out));
    default:
      ToF32(row, reinterpret_cast<float*>(out));
      return 1;
  }
}

void PackPanel(const WeightRows& rows, WeightFormat format, std::byte* panel, float* scales) {
  WithRows(rows, [&](const auto& typed) { PackRows(typed, format, panel, scales); });
}

void PackEmbedding(const WeightRows& rows, WeightFormat format, std::byte* out, float* scales) {
  const std::int64_t row_bytes = EmbeddingRowBytes(format, rows.columns);
  WithRows(rows, [&](const auto& typed) {
    for (std::int64_t i = 0; i < rows.count; ++i)
      scales[i] = ToEmbedding(typed[i], format, out + i * row_bytes);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(PackPanel);
HWY_EXPORT(PackEmbedding);

void AddPacking(Kernels& kernels) {
  kernels.pack_panel = CODEGEN_VERSION_FOR(kernels.level, PackPanel);
  kernels.pack_embedding = CODEGEN_VERSION_FOR(kernels.level, PackEmbedding);
}

}  // namespace codegen::cpu
#endif
