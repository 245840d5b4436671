// SPDX-License-Identifier: Apache-2.0
//
// XXH3 (Collet 2019; the constants are those of xxhash.h 0.8) of rows that are widened to float32
// on the way into its accumulators. The library's own loop is compiled for SSE2 here, needs the
// floats in memory, and with the search for NaN took a fifth of the time of loading a float16
// model; this one reads 2 bytes per weight, once, from L2, and takes 0.1 ns of arithmetic.
//
// Rows of up to 240 bytes, and those that hold a NaN, which widening may change the bits of, go
// through the library.
#include "model/row_hash.h"

#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/row_hash.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <vector>

#include "tensor/half.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::model {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::CappedTag<float, 16>;
using U = hn::RebindToUnsigned<F>;
using U16 = hn::Rebind<std::uint16_t, F>;
using Bits = hn::Vec<U>;

constexpr std::size_t kLanes = hn::MaxLanes(F());
constexpr std::size_t kStripe = 16;  // floats
constexpr std::size_t kVectors = kStripe / kLanes;
constexpr std::size_t kSecretBytes = 192;
constexpr std::size_t kStripesInBlock = (kSecretBytes - 64) / 8;

// How rows of a type become vectors of the bits of floats. Largest: the largest magnitude seen, as
// its bits; those of NaN and infinity exceed all others.

class FromF32 {
 public:
  static constexpr std::uint32_t kInfinity = 0x7F800000U;

  explicit FromF32(const float* row) : row_(row) {}
  HWY_INLINE Bits Load(std::size_t k) {
    const U u;
    const auto bits = hn::BitCast(u, hn::LoadU(F(), row_ + k));
    largest_ = hn::Max(largest_, hn::And(bits, hn::Set(u, 0x7FFFFFFFU)));
    return bits;
  }
  HWY_INLINE std::uint32_t Largest() const { return hn::GetLane(hn::MaxOfLanes(U(), largest_)); }

 private:
  const float* row_;
  Bits largest_ = hn::Zero(U());
};

class Stored16 {
 public:
  explicit Stored16(const std::uint16_t* row) : row_(row) {}
  HWY_INLINE std::uint32_t Largest() const {
    const auto largest = hn::PromoteTo(U(), largest_);
    return hn::GetLane(hn::MaxOfLanes(U(), largest));
  }

 protected:
  HWY_INLINE hn::Vec<U16> LoadStored(std::size_t k) {
    const U16 u16;
    const auto bits = hn::LoadU(u16, row_ + k);
    largest_ = hn::Max(largest_, hn::And(bits, hn::Set(u16, 0x7FFF)));
    return bits;
  }

 private:
  const std::uint16_t* row_;
  hn::Vec<U16> largest_ = hn::Zero(U16());
};

class FromF16 : public Stored16 {
 public:
  static constexpr std::uint32_t kInfinity = 0x7C00U;
  using Stored16::Stored16;
  HWY_INLINE Bits Load(std::size_t k) {
    const hn::Rebind<hwy::float16_t, F> half;
    return hn::BitCast(U(), hn::PromoteTo(F(), hn::BitCast(half, LoadStored(k))));
  }
};

class FromBf16 : public Stored16 {
 public:
  static constexpr std::uint32_t kInfinity = 0x7F80U;
  using Stored16::Stored16;
  HWY_INLINE Bits Load(std::size_t k) {
    return hn::ShiftLeft<16>(hn::PromoteTo(U(), LoadStored(k)));
  }
};

#if HWY_TARGET != HWY_SCALAR

using U64 = hn::RepartitionToWide<U>;

HWY_INLINE hn::Vec<U64> SecretAt(const std::uint8_t* secret, std::size_t vector) {
  const hn::Repartition<std::uint8_t, U64> u8;
  return hn::BitCast(U64(), hn::LoadU(u8, secret + vector * kLanes * sizeof(float)));
}

// The accumulators. Each also takes the data of its neighbour, which wait unswapped until they are
// asked for.
class Sums {
 public:
  HWY_INLINE Sums() {
    HWY_ALIGN constexpr std::uint64_t kStart[8] = {XXH_PRIME32_3, XXH_PRIME64_1, XXH_PRIME64_2,
                                                   XXH_PRIME64_3, XXH_PRIME64_4, XXH_PRIME32_2,
                                                   XXH_PRIME64_5, XXH_PRIME32_1};
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums_[v] = hn::Load(U64(), kStart + v * kWords);
      data_[v] = hn::Zero(U64());
    }
  }

  template <class From>
  HWY_INLINE void AddStripe(From& from, std::size_t k, const std::uint8_t* secret) {
    const U u;
    for (std::size_t v = 0; v < kVectors; ++v) {
      const auto data = hn::BitCast(U64(), from.Load(k + v * kLanes));
      const auto key = hn::BitCast(u, hn::Xor(data, SecretAt(secret, v)));
      sums_[v] = hn::Add(sums_[v], hn::MulEven(key, hn::Shuffle2301(key)));
      data_[v] = hn::Add(data_[v], data);
    }
  }

  HWY_INLINE void Scramble(const std::uint8_t* secret) {
    const U u;
    const auto prime = hn::Set(u, XXH_PRIME32_1);
    AddData();
    for (std::size_t v = 0; v < kVectors; ++v) {
      const auto mixed =
          hn::Xor(hn::Xor(sums_[v], hn::ShiftRight<47>(sums_[v])), SecretAt(secret, v));
      const auto low = hn::MulEven(hn::BitCast(u, mixed), prime);
      const auto high = hn::MulEven(hn::BitCast(u, hn::ShiftRight<32>(mixed)), prime);
      sums_[v] = hn::Add(low, hn::ShiftLeft<32>(high));
    }
  }

  HWY_INLINE void Store(std::uint64_t* out) {
    AddData();
    for (std::size_t v = 0; v < kVectors; ++v) hn::Store(sums_[v], U64(), out + v * kWords);
  }

 private:
  static constexpr std::size_t kWords = kLanes / 2;

  HWY_INLINE void AddData() {
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums_[v] = hn::Add(sums_[v], hn::Shuffle01(data_[v]));
      data_[v] = hn::Zero(U64());
    }
  }

  hn::Vec<U64> sums_[kVectors];
  hn::Vec<U64> data_[kVectors];
};

std::uint64_t Fold(std::uint64_t a, std::uint64_t b) {
  const XXH128_hash_t product = XXH_mult64to128(a, b);
  return product.low64 ^ product.high64;
}

std::uint64_t Merge(const std::uint64_t* sums, const std::uint8_t* secret, std::uint64_t start) {
  std::uint64_t hash = start;
  for (std::size_t i = 0; i < 4; ++i) {
    hash += Fold(sums[2 * i] ^ XXH_readLE64(secret + 16 * i),
                 sums[2 * i + 1] ^ XXH_readLE64(secret + 16 * i + 8));
  }
  hash ^= hash >> 37;
  hash *= 0x165667919E3779F9U;
  return hash ^ hash >> 32;
}

// Of `count` floats. Requires: more than 60.
template <class From>
HWY_INLINE std::uint64_t LongHash(From& from, std::size_t count, std::uint64_t seed) {
  HWY_ALIGN std::uint8_t secret[kSecretBytes];
  XXH3_initCustomSecret_scalar(secret, seed);
  Sums sums;
  // The last stripe, whole or not, is that of the last 16 floats.
  const std::size_t stripes = (count - 1) / kStripe;
  std::size_t i = 0;
  for (; i + kStripesInBlock <= stripes; i += kStripesInBlock) {
    for (std::size_t j = 0; j < kStripesInBlock; ++j)
      sums.AddStripe(from, (i + j) * kStripe, secret + j * 8);
    sums.Scramble(secret + kSecretBytes - 64);
  }
  for (std::size_t j = 0; i + j < stripes; ++j)
    sums.AddStripe(from, (i + j) * kStripe, secret + j * 8);
  sums.AddStripe(from, count - kStripe, secret + kSecretBytes - 64 - 7);
  HWY_ALIGN std::uint64_t words[8];
  sums.Store(words);
  return Merge(words, secret + 11, count * sizeof(float) * XXH_PRIME64_1);
}

template <class From>
HWY_INLINE bool TryHash(From from, std::size_t count, std::uint64_t seed, RowHash& hash) {
  if (count * sizeof(float) <= XXH3_MIDSIZE_MAX) return false;
  hash.hash = LongHash(from, count, seed);
  return from.Largest() < From::kInfinity;
}

#else

template <class From>
bool TryHash(From, std::size_t, std::uint64_t, RowHash&) {
  return false;
}

#endif

// These return false where they cannot tell: the row is short or not finite.

bool TryF32(const float* row, std::size_t count, std::uint64_t seed, RowHash& hash) {
  return TryHash(FromF32(row), count, seed, hash);
}

bool TryF16(const std::uint16_t* row, std::size_t count, std::uint64_t seed, RowHash& hash) {
  return TryHash(FromF16(row), count, seed, hash);
}

bool TryBf16(const std::uint16_t* row, std::size_t count, std::uint64_t seed, RowHash& hash) {
  return TryHash(FromBf16(row), count, seed, hash);
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::model
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace codegen::model {
namespace {

HWY_EXPORT(TryF32);
HWY_EXPORT(TryF16);
HWY_EXPORT(TryBf16);

// An exponent of all ones is infinity or NaN; tested on integers, which vectorises.
bool AreFinite(std::span<const float> values) {
  std::uint32_t largest = 0;
  for (const float value : values)
    largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7F800000U);
  return largest != 0x7F800000U;
}

RowHash HashByLibrary(std::span<const float> row, std::uint64_t seed) {
  return {.hash = XXH3_64bits_withSeed(row.data(), row.size_bytes(), seed),
          .finite = AreFinite(row)};
}

}  // namespace

RowHash HashRow(std::span<const float> row, std::uint64_t seed) {
  RowHash hash;
  if (HWY_DYNAMIC_DISPATCH(TryF32)(row.data(), row.size(), seed, hash)) return hash;
  return HashByLibrary(row, seed);
}

RowHash HashRow(std::span<const std::uint16_t> row, WeightFormat stored, std::uint64_t seed) {
  const bool half = stored == WeightFormat::kF16;
  const auto try_hash = half ? HWY_DYNAMIC_DISPATCH(TryF16) : HWY_DYNAMIC_DISPATCH(TryBf16);
  RowHash hash;
  if (try_hash(row.data(), row.size(), seed, hash)) return hash;
  std::vector<float> floats(row.size());
  std::ranges::transform(row, floats.begin(), half ? tensor::FloatFromF16 : tensor::FloatFromBf16);
  return HashByLibrary(floats, seed);
}

}  // namespace codegen::model
#endif
