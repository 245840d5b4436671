// SPDX-License-Identifier: Apache-2.0
#include "backend/weight.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace codegen::backend {
namespace {

constexpr std::uint64_t kOne = std::uint64_t{1} << kWeightBits;

// Every `stride`th float from `last` down to kNegligible.
template <class Use>
void ForExponents(std::uint32_t stride, float last, const Use& use) {
  const auto end = std::bit_cast<std::uint32_t>(kNegligible);
  for (std::uint32_t bits = std::bit_cast<std::uint32_t>(last); bits <= end; bits += stride)
    use(std::bit_cast<float>(bits));
}

TEST(Weight, IsTheExponentialWithinTheRoundingOfAFloat) {
  ForExponents(1009, -1e-12F, [](float exponent) {
    const double want = std::exp(double{exponent}) * static_cast<double>(kOne);
    ASSERT_NEAR(static_cast<double>(Weight(exponent)), want, want * 0x1p-25 + 0.5) << exponent;
  });
}

// All floats were tried once; near zero, where steps are finest, and across the range here.
TEST(Weight, NeverGrowsAsTheExponentFalls) {
  std::uint64_t before = kOne;
  const auto expect_no_more = [&](float exponent) {
    const std::uint64_t weight = Weight(exponent);
    ASSERT_LE(weight, before) << exponent;
    before = weight;
  };
  ForExponents(97, -1e-12F, expect_no_more);
  before = kOne;
  ForExponents(1, -29.9F, expect_no_more);
}

TEST(Weight, IsOneAtZero) {
  EXPECT_EQ(Weight(0.0F), kOne);
  EXPECT_EQ(Weight(-0.0F), kOne);
}

TEST(Weight, EndsAtNegligible) {
  EXPECT_EQ(Weight(kNegligible), 1U);
  EXPECT_EQ(Weight(std::nextafter(kNegligible, -31.0F)), 0U);
  EXPECT_EQ(Weight(-std::numeric_limits<float>::infinity()), 0U);
  EXPECT_EQ(Weight(std::numeric_limits<float>::quiet_NaN()), 0U);
}

TEST(WeightOfTopP, RoundsUp) {
  EXPECT_EQ(WeightOfTopP(0.5F, 10), 5U);
  EXPECT_EQ(WeightOfTopP(0.5F, 11), 6U);
  EXPECT_EQ(WeightOfTopP(1e-30F, 11), 1U);
}

TEST(WeightOfTopP, IsNeverBeyondTheTotal) {
  const float largest = std::nextafter(1.0F, 0.0F);
  for (const std::uint64_t total :
       {std::uint64_t{1}, kOne, kOne * kMostWeights - 1, kOne * kMostWeights})
    EXPECT_LE(WeightOfTopP(largest, total), total);
}

TEST(WeightOfDraw, IsTheFirstWeightBeyond) {
  EXPECT_EQ(WeightOfDraw(0.0F, 10), 1U);
  EXPECT_EQ(WeightOfDraw(0.5F, 10), 6U);
  EXPECT_EQ(WeightOfDraw(0.5F, 11), 6U);
}

TEST(WeightOfDraw, IsNeverBeyondTheTotal) {
  const float largest = std::nextafter(1.0F, 0.0F);
  for (const std::uint64_t total :
       {std::uint64_t{1}, kOne, kOne * kMostWeights - 1, kOne * kMostWeights})
    EXPECT_LE(WeightOfDraw(largest, total), total);
}

}  // namespace
}  // namespace codegen::backend
