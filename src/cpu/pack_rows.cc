// SPDX-License-Identifier: Apache-2.0
//
// Packing of weights (pack.h) and of embedding rows: floats [outputs <= 16, inputs] become a panel.
// What the formats are is in quant/format.h; the result is the same to the bit on every level.
//
// A block of a row is narrowed into a buffer, in which the elements that share a word of the panel
// are neighbours; then its words go to their places, one line apart. A block of all 16 rows fills
// 8 KiB of the panel, which stay in the L1 cache while they are written 16 times. Read once,
// written once: 4 bytes in and 0.5 to 4 out per weight; the division of int4 and the stores of f16
// and f32 are what bounds them.
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
#include "cpu/vectors-inl.h"
#include "quant/format.h"
#include "tensor/half.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

constexpr std::int64_t kBlock = 512;  // inputs
constexpr std::uint32_t kInfinity = 0x7F800000U;
constexpr std::int64_t kGroup = quant::kInt4Group;
constexpr std::int64_t kGroupLines = kGroup / 8;  // and one of scales
constexpr std::int64_t kLineBytes = 64;

// Calls visit(k, v) for the vectors of a row, the last one padded with zeros.
template <class Visit>
HWY_INLINE void ForEachVector(const float* row, std::int64_t count, const Visit& visit) {
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) visit(k, hn::LoadU(F(), row + k));
  if (k == count) return;
  HWY_ALIGN float rest[kLine] = {};
  std::copy_n(row + k, count - k, rest);
  visit(k, hn::Load(F(), rest));
}

// The largest magnitude of a row, as its bits: those of NaN and infinity exceed all others.
std::uint32_t LargestMagnitude(const float* row, std::int64_t count) {
  const I i;
  auto largest = hn::Zero(i);
  ForEachVector(row, count, [&](std::int64_t, V v) HWY_ATTR {
    largest = hn::Max(largest, hn::And(hn::Set(i, 0x7FFFFFFF), hn::BitCast(i, v)));
  });
  return static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(i, largest)));
}

// The functions below write whole vectors: `out` has room for a line more.

void ToBf16(const float* row, std::int64_t count, std::uint16_t* out) {
  const U u;
  const hn::Rebind<std::uint16_t, F> half;
  ForEachVector(row, count, [&](std::int64_t k, V v) HWY_ATTR {
    const auto bits = hn::BitCast(u, v);
    const auto high = hn::ShiftRight<16>(bits);
    const auto odd = hn::And(high, hn::Set(u, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(u, 0x7FFF))));
    const auto nan = hn::Or(high, hn::Set(u, 0x40));
    const auto is_nan = hn::BitCast(u, hn::VecFromMask(F(), hn::IsNaN(v)));
    const auto result = hn::Or(hn::And(is_nan, nan), hn::AndNot(is_nan, rounded));
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(I(), result)), half, out + k);
  });
}

// tensor::F16FromFloat with its branches selected.
void ToF16(const float* row, std::int64_t count, std::uint16_t* out) {
  const I i;
  const hn::Rebind<std::uint16_t, F> half;
  ForEachVector(row, count, [&](std::int64_t k, V v) HWY_ATTR {
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

// q = value * factor, rounded.
void ToInt8(const float* row, std::int64_t count, float factor, std::int8_t* out) {
  const hn::Rebind<std::int8_t, F> bytes;
  ForEachVector(row, count, [&](std::int64_t k, V v) HWY_ATTR {
    const auto q = hn::NearestInt(hn::Mul(v, hn::Set(F(), factor)));
    hn::StoreU(hn::DemoteTo(bytes, q), bytes, out + k);
  });
}

// Scale of a row of int8, and what its elements are multiplied by: quant::QuantizeInt8.
struct Int8Scale {
  float scale = 0;
  float factor = 0;  // 0: all elements become 0
};

Int8Scale ScaleOf(const float* row, std::int64_t count) {
  const std::uint32_t bits = LargestMagnitude(row, count);
  const float largest = std::bit_cast<float>(bits);
  if (bits >= kInfinity) return {.scale = std::numeric_limits<float>::quiet_NaN()};
  if (largest < quant::kLeastInt8) return {};
  return {.scale = largest / 127.0F, .factor = 127.0F / largest};
}

// NaN times 0 is not 0.
void ToInt8(const float* row, std::int64_t count, const Int8Scale& scale, std::int8_t* out) {
  if (scale.factor == 0) {
    std::fill_n(out, count, std::int8_t{0});
  } else {
    ToInt8(row, count, scale.factor, out);
  }
}

// Packs blocks of each row by narrow(output, floats, count, words), `per_word` inputs to a Word;
// what is left of the last word is zero where the narrowing leaves it so.
template <class Word, class Narrow>
HWY_INLINE void PackWords(const float* rows, std::int64_t outputs, std::int64_t inputs,
                          std::int64_t per_word, std::byte* panel, const Narrow& narrow) {
  HWY_ALIGN Word words[kBlock + kLine];
  auto* out = reinterpret_cast<Word*>(panel);
  for (std::int64_t first = 0; first < inputs; first += kBlock) {
    const std::int64_t count = std::min(kBlock, inputs - first);
    const std::int64_t word_count = (count + per_word - 1) / per_word;
    for (std::int64_t o = 0; o < outputs; ++o) {
      words[word_count - 1] = 0;
      narrow(o, rows + o * inputs + first, count, words);
      for (std::int64_t j = 0; j < word_count; ++j) out[j * kLine + o] = words[j];
    }
    out += word_count * kLine;
  }
}

void PackInt8(const float* rows, std::int64_t outputs, std::int64_t inputs, std::byte* panel,
              float* scales) {
  Int8Scale scale[kLine];
  for (std::int64_t o = 0; o < outputs; ++o) {
    scale[o] = ScaleOf(rows + o * inputs, inputs);
    scales[o] = scale[o].scale;
  }
  const auto narrow = [&](std::int64_t o, const float* floats, std::int64_t count,
                          std::uint32_t* words) {
    ToInt8(floats, count, scale[o], reinterpret_cast<std::int8_t*>(words));
    // q + 128, of the inputs that are there or not.
    for (std::int64_t j = 0; j < (count + 3) / 4; ++j) words[j] ^= 0x80808080U;
  };
  PackWords<std::uint32_t>(rows, outputs, inputs, 4, panel, narrow);
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
constexpr auto kShorts = static_cast<std::int64_t>(hn::MaxLanes(Short()));

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
  ForEachVector(group, count, [&](std::int64_t k, V v) HWY_ATTR {
    const V steps = hn::Mul(hn::Sub(v, minimum), factor);
    const V inside = hn::Min(hn::Max(steps, hn::Zero(f)), hn::Set(f, 15.0F));
    hn::StoreU(hn::DemoteTo(bytes, hn::NearestInt(inside)), bytes, q + k);
  });
  return packed;
}

void PackInt4(const float* rows, std::int64_t outputs, std::int64_t inputs, std::byte* panel) {
  for (std::int64_t first = 0; first < inputs; first += kGroup) {
    std::byte* const group = panel + first / kGroup * (kGroupLines + 1) * kLineBytes;
    const std::int64_t count = std::min(kGroup, inputs - first);
    for (std::int64_t o = 0; o < outputs; ++o) {
      HWY_ALIGN std::uint8_t q[kGroup + kLine] = {};
      const float* const floats = rows + o * inputs + first;
      const bool finite = LargestMagnitude(floats, count) < kInfinity;
      const quant::Int4Scale scale = finite ? ToInt4(floats, count, q) : quant::kNotFinite;
      std::fill(q + count, q + kGroup, std::uint8_t{0});
      PackInt4Group(q, scale, o, group);
    }
  }
}

void PackPanel(const float* rows, std::int64_t outputs, std::int64_t inputs, WeightFormat format,
               std::byte* panel, float* scales) {
  switch (format) {
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      return PackWords<float>(rows, outputs, inputs, 1, panel,
                              [](std::int64_t, const float* floats, std::int64_t count,
                                 float* words) { std::copy_n(floats, count, words); });
    case WeightFormat::kBf16:
      return PackWords<std::uint32_t>(
          rows, outputs, inputs, 2, panel,
          [](std::int64_t, const float* floats, std::int64_t count, std::uint32_t* words) {
            ToBf16(floats, count, reinterpret_cast<std::uint16_t*>(words));
          });
    case WeightFormat::kF16:
      return PackWords<std::uint16_t>(rows, outputs, inputs, 1, panel,
                                      [](std::int64_t, const float* floats, std::int64_t count,
                                         std::uint16_t* words) { ToF16(floats, count, words); });
    case WeightFormat::kInt8:
      return PackInt8(rows, outputs, inputs, panel, scales);
    case WeightFormat::kInt4:
      return PackInt4(rows, outputs, inputs, panel);
  }
}

float PackEmbeddingRow(const float* floats, std::int64_t count, WeightFormat format,
                       std::byte* out) {
  switch (EmbeddingFormat(format)) {
    case WeightFormat::kBf16:
      ToBf16(floats, count, reinterpret_cast<std::uint16_t*>(out));
      return 1;
    case WeightFormat::kF16:
      ToF16(floats, count, reinterpret_cast<std::uint16_t*>(out));
      return 1;
    case WeightFormat::kInt8: {
      const Int8Scale scale = ScaleOf(floats, count);
      ToInt8(floats, count, scale, reinterpret_cast<std::int8_t*>(out));
      return scale.scale;
    }
    default:
      std::copy_n(floats, count, reinterpret_cast<float*>(out));
      return 1;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(PackPanel);
HWY_EXPORT(PackEmbeddingRow);

void AddPacking(Kernels& kernels) {
  kernels.pack_panel = CODEGEN_VERSION_FOR(kernels.level, PackPanel);
  kernels.pack_embedding_row = CODEGEN_VERSION_FOR(kernels.level, PackEmbeddingRow);
}

}  // namespace codegen::cpu
#endif
