// SPDX-License-Identifier: Apache-2.0
//
// What packing (pack_rows.cc) is made of: rows of stored weights as vectors of floats, and blocks
// of 16 narrowed rows turned over, so that word j of every row lies in line j. Compiled once per
// instruction set.
//
// A block is turned over in squares of 4 x 4 words: two rounds of interleaving make them in each
// 128-bit block of the vectors, which then goes to its line. A quarter of a line per store takes as
// many cycles on Zen 4 as whole lines would, whose last two rounds of shuffles it saves, and it is
// the same code for vectors of any length.
#if defined(CODEGEN_CPU_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CODEGEN_CPU_ROWS_INL_H_
#undef CODEGEN_CPU_ROWS_INL_H_
#else
#define CODEGEN_CPU_ROWS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#include "cpu/kernels.h"
#include "cpu/vectors-inl.h"
#include "tensor/half.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

// Whether PromoteTo knows infinity and NaN of float16: Highway's own emulation does not.
constexpr bool kWidensAllF16 =
    HWY_TARGET != HWY_SCALAR && (HWY_ARCH_ARM || (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2));

// How elements of a type become floats, exactly; NaN may become quiet.

struct StoredF32 {
  using Element = float;
  static HWY_INLINE V Load(const float* x) { return hn::LoadU(F(), x); }
};

struct StoredBf16 {
  using Element = std::uint16_t;
  static float Widen(std::uint16_t x) { return tensor::FloatFromBf16(x); }
  static HWY_INLINE V Load(const std::uint16_t* x) {
    const hn::Rebind<std::uint16_t, F> half;
    return hn::BitCast(F(), hn::ShiftLeft<16>(hn::PromoteTo(U(), hn::LoadU(half, x))));
  }
};

struct StoredF16 {
  using Element = std::uint16_t;
  static float Widen(std::uint16_t x) { return tensor::FloatFromF16(x); }
  static HWY_INLINE V Load(const std::uint16_t* x) {
    const U u;
    const hn::Rebind<std::uint16_t, F> bits;
    const hn::Rebind<hwy::float16_t, F> half;
    const auto stored = hn::LoadU(bits, x);
    const V value = hn::PromoteTo(F(), hn::BitCast(half, stored));
    if constexpr (kWidensAllF16) return value;
    const auto wide = hn::PromoteTo(u, stored);
    const auto magnitude = hn::And(wide, hn::Set(u, 0x7FFF));
    const auto sign = hn::ShiftLeft<16>(hn::And(wide, hn::Set(u, 0x8000)));
    const auto special = hn::Or(
        sign, hn::Or(hn::Set(u, kInfinity), hn::ShiftLeft<13>(hn::And(wide, hn::Set(u, 0x3FF)))));
    const auto is_special =
        hn::Gt(hn::BitCast(I(), magnitude), hn::BitCast(I(), hn::Set(u, 0x7BFF)));
    return hn::IfThenElse(hn::RebindMask(F(), is_special), hn::BitCast(F(), special), value);
  }
};

// The largest of the low 15 bits of 16-bit numbers: of f16 and bf16, the largest magnitude.
HWY_INLINE std::uint16_t LargestOf(const std::uint16_t* x, std::int64_t count) {
  const hn::CappedTag<std::uint16_t, 32> u16;
  constexpr auto kStep = static_cast<std::int64_t>(hn::MaxLanes(u16));
  auto largest = hn::Zero(u16);
  std::int64_t k = 0;
  for (; k + kStep <= count; k += kStep)
    largest = hn::Max(largest, hn::And(hn::LoadU(u16, x + k), hn::Set(u16, 0x7FFF)));
  HWY_ALIGN std::uint16_t lanes[kStep];
  hn::Store(largest, u16, lanes);
  std::uint16_t result = *std::max_element(lanes, lanes + kStep);
  for (; k < count; ++k) result = std::max(result, static_cast<std::uint16_t>(x[k] & 0x7FFF));
  return result;
}

template <class Stored>
class RowOf {
 public:
  using Element = typename Stored::Element;

  RowOf(const Element* data, std::int64_t count) : data_(data), count_(count) {}
  std::int64_t count() const { return count_; }
  RowOf Part(std::int64_t first, std::int64_t count) const { return {data_ + first, count}; }

  // The elements from k on, zeros beyond the last.
  HWY_INLINE V At(std::int64_t k) const {
    if (HWY_LIKELY(k + kLanes <= count_)) return Stored::Load(data_ + k);
    HWY_ALIGN Element rest[kLine];
    CopyRest(k, rest);
    return Stored::Load(rest);
  }

  // The same as they are stored, in 16 bits.
  HWY_INLINE auto BitsAt(std::int64_t k) const {
    const hn::Rebind<std::uint16_t, F> half;
    if (HWY_LIKELY(k + kLanes <= count_)) return hn::LoadU(half, data_ + k);
    HWY_ALIGN Element rest[kLine];
    CopyRest(k, rest);
    return hn::LoadU(half, rest);
  }

  // The bits of the largest magnitude as a float.
  HWY_INLINE std::uint32_t LargestBits() const {
    if constexpr (sizeof(Element) == 2) {
      return std::bit_cast<std::uint32_t>(Stored::Widen(LargestOf(data_, count_)));
    } else {
      return LargestMagnitude(count_, [&](std::int64_t k) HWY_ATTR { return At(k); });
    }
  }

  // Calls visit(k, vector at k) for all of them.
  template <class Visit>
  HWY_INLINE void ForEach(const Visit& visit) const {
    for (std::int64_t k = 0; k < count_; k += kLanes) visit(k, At(k));
  }

 private:
  HWY_NOINLINE void CopyRest(std::int64_t k, Element* rest) const {
    std::fill_n(rest, kLine, Element{0});
    if (k < count_) std::copy_n(data_ + k, count_ - k, rest);
  }

  const Element* data_;
  std::int64_t count_;
};

template <class Stored>
class RowsOf {
 public:
  explicit RowsOf(const WeightRows& rows) : rows_(rows) {}
  std::int64_t count() const { return rows_.count; }
  std::int64_t columns() const { return rows_.columns; }
  RowOf<Stored> operator[](std::int64_t i) const {
    const auto* const data = static_cast<const typename Stored::Element*>(rows_.data);
    return {data + i * rows_.columns, rows_.columns};
  }

 private:
  WeightRows rows_;
};

// Calls work(RowsOf<the type of the rows>).
template <class Work>
HWY_INLINE void WithRows(const WeightRows& rows, const Work& work) {
  if (rows.stored == WeightFormat::kF16) return work(RowsOf<StoredF16>(rows));
  if (rows.stored == WeightFormat::kBf16) return work(RowsOf<StoredBf16>(rows));
  work(RowsOf<StoredF32>(rows));
}

// 16 rows of narrowed words.
template <class Word, std::int64_t kWords>
class Block {
 public:
  Word* row(std::int64_t o) { return words_ + o * kStride; }
  const Word* row(std::int64_t o) const { return words_ + o * kStride; }
  void ZeroFrom(std::int64_t o) { std::fill(row(o), row(kLine), Word{0}); }

 private:
  static constexpr std::int64_t kStride = kWords + 2 * kLine;
  HWY_ALIGN Word words_[kLine * kStride];
};

// lines[j][o] = word j of row o, from `first` on, for `count` words in all.
template <class Word, std::int64_t kWords>
HWY_INLINE void TurnRest(const Block<Word, kWords>& block, std::int64_t first, std::int64_t count,
                         Word* lines) {
  for (std::int64_t j = first; j < count; ++j)
    for (std::int64_t o = 0; o < kLine; ++o) lines[j * kLine + o] = block.row(o)[j];
}

#if HWY_TARGET == HWY_SCALAR

template <class Word, std::int64_t kWords>
HWY_INLINE void TurnOver(const Block<Word, kWords>& block, std::int64_t count, Word* lines) {
  TurnRest(block, 0, count, lines);
}

#else

// Stores the 128-bit blocks of v, block b to at(b).
template <class D, class At>
HWY_INLINE void StoreBlocks(D d, hn::Vec<D> v, const At& at) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    hn::Store(v, d, at(0));
  } else {
    const hn::Half<D> half;
    constexpr auto kBlocks = static_cast<std::int64_t>(hn::MaxLanes(half) / 4);
    StoreBlocks(half, hn::LowerHalf(half, v), at);
    StoreBlocks(half, hn::UpperHalf(half, v),
                [&](std::int64_t b) HWY_ATTR { return at(kBlocks + b); });
  }
}

// Of four rows in each block: at(b, i) takes words i of block b.
template <class At>
HWY_INLINE void TurnFour(const hn::Vec<U> (&rows)[4], const At& at) {
  const U u;
  const hn::RepartitionToWide<U> wide;
  const auto low01 = hn::BitCast(wide, hn::InterleaveLower(u, rows[0], rows[1]));
  const auto low23 = hn::BitCast(wide, hn::InterleaveLower(u, rows[2], rows[3]));
  const auto high01 = hn::BitCast(wide, hn::InterleaveUpper(u, rows[0], rows[1]));
  const auto high23 = hn::BitCast(wide, hn::InterleaveUpper(u, rows[2], rows[3]));
  const auto store = [&](std::int64_t i, auto words) HWY_ATTR {
    StoreBlocks(u, hn::BitCast(u, words), [&](std::int64_t b) HWY_ATTR { return at(b, i); });
  };
  store(0, hn::InterleaveLower(wide, low01, low23));
  store(1, hn::InterleaveUpper(wide, low01, low23));
  store(2, hn::InterleaveLower(wide, high01, high23));
  store(3, hn::InterleaveUpper(wide, high01, high23));
}

// A vector of words of all 16 rows.
template <std::int64_t kWords>
HWY_INLINE void TurnVectors(const Block<std::uint32_t, kWords>& block, std::int64_t place,
                            std::uint32_t* lines) {
  const U u;
  for (std::int64_t o = 0; o < kLine; o += 4) {
    hn::Vec<U> rows[4];
    for (std::int64_t i = 0; i < 4; ++i) rows[i] = hn::LoadU(u, block.row(o + i) + place);
    TurnFour(rows, [&](std::int64_t b, std::int64_t i)
                       HWY_ATTR { return lines + (place + 4 * b + i) * kLine + o; });
  }
}

// The same for halves: those of two rows make words first.
template <std::int64_t kWords>
HWY_INLINE void TurnVectors(const Block<std::uint16_t, kWords>& block, std::int64_t place,
                            std::uint16_t* lines) {
  const U u;
  const hn::Repartition<std::uint16_t, U> u16;
  for (std::int64_t o = 0; o < kLine; o += 8) {
    hn::Vec<U> low[4];
    hn::Vec<U> high[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      const auto even = hn::LoadU(u16, block.row(o + 2 * i) + place);
      const auto odd = hn::LoadU(u16, block.row(o + 2 * i + 1) + place);
      low[i] = hn::BitCast(u, hn::InterleaveLower(u16, even, odd));
      high[i] = hn::BitCast(u, hn::InterleaveUpper(u16, even, odd));
    }
    const auto at = [&](std::int64_t column) HWY_ATTR {
      return reinterpret_cast<std::uint32_t*>(lines + (place + column) * kLine + o);
    };
    TurnFour(low, [&](std::int64_t b, std::int64_t i) HWY_ATTR { return at(8 * b + i); });
    TurnFour(high, [&](std::int64_t b, std::int64_t i) HWY_ATTR { return at(8 * b + 4 + i); });
  }
}

// lines[j][o] = word j of row o, for the first `count` words.
template <class Word, std::int64_t kWords>
HWY_INLINE void TurnOver(const Block<Word, kWords>& block, std::int64_t count, Word* lines) {
  constexpr std::int64_t kStep = kLanes * 4 / std::int64_t{sizeof(Word)};
  std::int64_t place = 0;
  for (; place + kStep <= count; place += kStep) TurnVectors(block, place, lines);
  TurnRest(block, place, count, lines);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // CODEGEN_CPU_ROWS_INL_H_
