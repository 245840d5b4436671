// SPDX-License-Identifier: Apache-2.0
//
// What the fit of int4 is worth beside its bounds: scale and minimum of a group's whole range.
#include "quant/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "tensor/half.h"

namespace codegen::quant {
namespace {

double SquaredError(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return sum;
}

std::vector<float> Rounded(std::span<const float> group) {
  std::vector<float> rounded(group.begin(), group.end());
  RoundTo(WeightFormat::kInt4, rounded);
  return rounded;
}

// Rounded to the nearest of 16 levels from the least to the largest element.
std::vector<float> RoundedInWholeRange(std::span<const float> group) {
  const auto [least, largest] = std::ranges::minmax(group);
  const Int4Scale packed = Int4Range{.least = least, .largest = largest}.Whole();
  const float scale = tensor::FloatFromF16(packed.scale);
  const float minimum = tensor::FloatFromF16(packed.minimum);
  std::vector<float> rounded;
  for (const float value : group) {
    const float level = std::clamp(std::nearbyint((value - minimum) / scale), 0.0F, 15.0F);
    rounded.push_back(level * scale + minimum);
  }
  return rounded;
}

// Error of rounding many groups, as a share of that in their whole ranges.
template <class Distribution>
double ShareOfError(Distribution distribution, std::size_t count) {
  std::mt19937 random(1);
  double fitted = 0;
  double whole = 0;
  std::vector<float> group(count);
  for (int i = 0; i < 2000; ++i) {
    for (float& value : group) value = distribution(random);
    fitted += SquaredError(Rounded(group), group);
    whole += SquaredError(RoundedInWholeRange(group), group);
  }
  return fitted / whole;
}

TEST(Int4, LeavesLessErrorThanTheWholeRange) {
  using Normal = std::normal_distribution<float>;
  EXPECT_LT(ShareOfError(Normal(0, 0.02F), kInt4Group), 0.87);
  EXPECT_LT(ShareOfError(Normal(3, 0.5F), kInt4Group), 0.88);
  EXPECT_LT(ShareOfError(std::student_t_distribution<float>(4), kInt4Group), 0.87);
  EXPECT_LT(ShareOfError(std::uniform_real_distribution<float>(-1, 2), kInt4Group), 1.0);
  EXPECT_LT(ShareOfError(Normal(), 20), 1.0);
}

TEST(Int4, KeepsGroupsOfSixteenLevels) {
  std::mt19937 random(2);
  for (const float scale : {0.25F, 0.0078125F, 3.0F}) {
    std::vector<float> group = {0, 15};
    while (group.size() < kInt4Group)
      group.push_back(static_cast<float>(std::uniform_int_distribution(0, 15)(random)));
    for (float& value : group) value = value * scale - 2;

    EXPECT_EQ(Rounded(group), group) << scale;
  }
}

TEST(Int4, KeepsOneAndTwoNumbers) {
  for (const std::vector<float>& group :
       std::vector<std::vector<float>>{{-0.75F}, {-2, 13}, {5, 5, 5}, {0, 0}}) {
    const std::vector<float> rounded = Rounded(group);
    for (std::size_t i = 0; i < group.size(); ++i)
      EXPECT_NEAR(rounded[i], group[i], std::abs(group[i]) * 1e-3F + 1e-6F);
  }
}

// Where float16 has no scale for them, groups get what their whole range gives.
TEST(Int4, FitsWhatFloat16Holds) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  for (const Int4Range range : {Int4Range{.least = 0, .largest = 0},
                                {.least = 2, .largest = 2},
                                {.least = 0, .largest = 4.4e-7F},
                                {.least = 0, .largest = 1e-40F},
                                {.least = 0, .largest = 1e6F},
                                {.least = -kLargest, .largest = 1},
                                {.least = -kLargest, .largest = kLargest}})
    EXPECT_FALSE(range.CanFit()) << range.least << " " << range.largest;
  for (const Int4Range range : {Int4Range{.least = 0, .largest = 4.5e-7F},
                                {.least = 0, .largest = 9e5F},
                                {.least = -1, .largest = 1}})
    EXPECT_TRUE(range.CanFit()) << range.least << " " << range.largest;

  std::array<std::uint8_t, 2> q = {};
  const Int4Scale tiny = QuantizeInt4(std::array{0.5F, 0.50000006F}, q);
  EXPECT_EQ(tensor::FloatFromF16(tiny.scale), 0);
  EXPECT_EQ(tensor::FloatFromF16(tiny.minimum), 0.5F);
}

}  // namespace
}  // namespace codegen::quant
