// SPDX-License-Identifier: Apache-2.0
//
// Both formats are small enough to try every value. Rounding is compared with a search among the
// doubles of all finite values: the nearest, of two equally near the one with an even last bit.
#include "tensor/half.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace codegen::tensor {
namespace {

struct F16 {
  static constexpr int kMantissaBits = 10;
  static constexpr int kExponentBias = 15;
  static float Widen(std::uint16_t bits) { return FloatFromF16(bits); }
  static std::uint16_t Narrow(float value) { return F16FromFloat(value); }
};

struct Bf16 {
  static constexpr int kMantissaBits = 7;
  static constexpr int kExponentBias = 127;
  static float Widen(std::uint16_t bits) { return FloatFromBf16(bits); }
  static std::uint16_t Narrow(float value) { return Bf16FromFloat(value); }
};

// What the bits mean by IEEE 754's definition: the first magnitude that is not finite (infinity)
// has the value that the next finite one would have, which is how rounding treats it.
template <class Format>
double Definition(int magnitude) {
  const int exponent = magnitude >> Format::kMantissaBits;
  const int mantissa = magnitude & ((1 << Format::kMantissaBits) - 1);
  const int implicit = exponent == 0 ? 0 : 1 << Format::kMantissaBits;
  return std::ldexp(mantissa + implicit,
                    std::max(exponent, 1) - Format::kExponentBias - Format::kMantissaBits);
}

template <class Format>
int Infinity() {
  return 0x7FFF >> Format::kMantissaBits << Format::kMantissaBits;
}

template <class Format>
std::uint16_t NaiveNarrow(float value) {
  static const std::vector<double> magnitudes = [] {
    std::vector<double> all;
    for (int i = 0; i <= Infinity<Format>(); ++i) all.push_back(Definition<Format>(i));
    return all;
  }();
  const double magnitude = std::abs(double{value});
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const auto above = std::lower_bound(magnitudes.begin(), magnitudes.end(), magnitude);
  if (above == magnitudes.end()) return static_cast<std::uint16_t>(sign | Infinity<Format>());
  int bits = static_cast<int>(above - magnitudes.begin());
  if (*above != magnitude) {
    const double to_above = *above - magnitude;
    const double to_below = magnitude - *(above - 1);
    if (to_below < to_above || (to_below == to_above && bits % 2 == 1)) --bits;
  }
  return static_cast<std::uint16_t>(sign | bits);
}

template <class Format>
void ExpectNarrowsLikeTheSearch(float value) {
  ASSERT_EQ(Format::Narrow(value), NaiveNarrow<Format>(value))
      << "value " << value << " bits " << std::hex << std::bit_cast<std::uint32_t>(value);
}

template <class Format>
class Half : public ::testing::Test {};
using Formats = ::testing::Types<F16, Bf16>;
TYPED_TEST_SUITE(Half, Formats);

TYPED_TEST(Half, WidensEveryFiniteValueByItsDefinition) {
  for (int magnitude = 0; magnitude < Infinity<TypeParam>(); ++magnitude) {
    const auto bits = static_cast<std::uint16_t>(magnitude);
    const auto negative = static_cast<std::uint16_t>(magnitude | 0x8000);

    ASSERT_EQ(double{TypeParam::Widen(bits)}, Definition<TypeParam>(magnitude)) << magnitude;
    ASSERT_EQ(double{TypeParam::Widen(negative)}, -Definition<TypeParam>(magnitude)) << magnitude;
    ASSERT_TRUE(std::signbit(TypeParam::Widen(negative)));
  }
}

TYPED_TEST(Half, BringsEveryNumberBack) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((bits & 0x7FFF) <= Infinity<TypeParam>()) {
      ASSERT_EQ(TypeParam::Narrow(TypeParam::Widen(half)), half) << bits;
    }
  }
}

TYPED_TEST(Half, KeepsEveryNanANanOfItsSign) {
  for (int bits = Infinity<TypeParam>() + 1; bits < 0x8000; ++bits) {
    for (const int sign : {0, 0x8000}) {
      const float widened = TypeParam::Widen(static_cast<std::uint16_t>(bits | sign));
      ASSERT_TRUE(std::isnan(widened)) << bits;
      const int narrowed = TypeParam::Narrow(widened);

      ASSERT_GT(narrowed & 0x7FFF, Infinity<TypeParam>()) << bits;
      ASSERT_EQ(narrowed & 0x8000, sign) << bits;
    }
  }
}

// Narrow formats drop the low payload bits: a NaN with only those set must not become infinity.
TYPED_TEST(Half, KeepsANanWhosePayloadIsCut) {
  const float nan = std::bit_cast<float>(0x7F800001U);

  EXPECT_TRUE(std::isnan(TypeParam::Widen(TypeParam::Narrow(nan))));
  EXPECT_TRUE(std::isnan(TypeParam::Widen(TypeParam::Narrow(std::bit_cast<float>(0xFFFFFFFFU)))));
}

TYPED_TEST(Half, KeepsInfinity) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();

  EXPECT_EQ(TypeParam::Narrow(kInfinity), Infinity<TypeParam>());
  EXPECT_EQ(TypeParam::Narrow(-kInfinity), Infinity<TypeParam>() | 0x8000);
  EXPECT_EQ(TypeParam::Widen(static_cast<std::uint16_t>(Infinity<TypeParam>())), kInfinity);
}

// Every value, every midpoint between two neighbours, and the floats just beside both.
TYPED_TEST(Half, RoundsToNearestEvenAtEveryBoundary) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int magnitude = 0; magnitude < Infinity<TypeParam>(); ++magnitude) {
    const double value = Definition<TypeParam>(magnitude);
    const double middle = (value + Definition<TypeParam>(magnitude + 1)) / 2;
    for (const auto boundary : {static_cast<float>(value), static_cast<float>(middle)}) {
      for (const float near :
           {boundary, std::nextafter(boundary, kInfinity), std::nextafter(boundary, 0.0F)}) {
        if (std::isinf(near)) continue;
        ASSERT_NO_FATAL_FAILURE(ExpectNarrowsLikeTheSearch<TypeParam>(near));
        ASSERT_NO_FATAL_FAILURE(ExpectNarrowsLikeTheSearch<TypeParam>(-near));
      }
    }
  }
}

TYPED_TEST(Half, RoundsRandomFloatsToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 500'000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isfinite(value)) {
      ASSERT_NO_FATAL_FAILURE(ExpectNarrowsLikeTheSearch<TypeParam>(value));
    }
  }
}

// Random bits seldom fall into float16's range; these always do.
TYPED_TEST(Half, RoundsFloatsOfOrdinarySizeToNearestEven) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> exponent(-27, 17);
  for (int i = 0; i < 500'000; ++i)
    ASSERT_NO_FATAL_FAILURE(ExpectNarrowsLikeTheSearch<TypeParam>(std::exp2(exponent(random))));
}

TEST(F16FromFloat, OverflowsFromHalfwayBeyondTheLargest) {
  EXPECT_EQ(F16FromFloat(65504.0F), 0x7BFF);
  EXPECT_EQ(F16FromFloat(65519.996F), 0x7BFF);
  EXPECT_EQ(F16FromFloat(65520.0F), 0x7C00);
}

TEST(F16FromFloat, RoundsHalfTheSmallestSubnormalToZero) {
  EXPECT_EQ(F16FromFloat(0x1p-25F), 0);
  EXPECT_EQ(F16FromFloat(std::nextafter(0x1p-25F, 1.0F)), 1);
  EXPECT_EQ(F16FromFloat(0x1.8p-24F), 2);
}

}  // namespace
}  // namespace codegen::tensor
