// SPDX-License-Identifier: Apache-2.0
//
// The hash beside the library's own.
#include "model/row_hash.h"

#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "tensor/half.h"

namespace codegen::model {
namespace {

constexpr std::uint64_t kSeeds[] = {0, 1, 0xFEDCBA9876543210U};

std::uint64_t Expected(const std::vector<float>& row, std::uint64_t seed) {
  return XXH3_64bits_withSeed(row.data(), row.size() * sizeof(float), seed);
}

void ExpectHash(const std::vector<float>& row) {
  const bool finite = std::ranges::all_of(row, [](float value) { return std::isfinite(value); });
  for (const std::uint64_t seed : kSeeds) {
    const RowHash found = HashRow(row, seed);
    EXPECT_EQ(found.hash, Expected(row, seed)) << row.size();
    EXPECT_EQ(found.finite, finite) << row.size();
  }
}

void ExpectHash(const std::vector<std::uint16_t>& row, WeightFormat stored) {
  std::vector<float> floats(row.size());
  std::ranges::transform(
      row, floats.begin(),
      stored == WeightFormat::kF16 ? tensor::FloatFromF16 : tensor::FloatFromBf16);
  const bool finite = std::ranges::all_of(floats, [](float value) { return std::isfinite(value); });
  for (const std::uint64_t seed : kSeeds) {
    const RowHash found = HashRow(row, stored, seed);
    EXPECT_EQ(found.hash, Expected(floats, seed)) << WeightFormatName(stored) << row.size();
    EXPECT_EQ(found.finite, finite) << WeightFormatName(stored) << row.size();
  }
}

std::vector<std::size_t> Sizes() {
  std::vector<std::size_t> sizes = {1023, 1024, 1025, 4096, 10007};
  for (std::size_t size = 1; size <= 600; ++size) sizes.push_back(size);
  return sizes;
}

TEST(HashRow, IsThatOfTheLibraryForFloats) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const std::size_t size : Sizes()) {
    std::vector<float> row(size);
    for (float& value : row) value = normal(random);
    ExpectHash(row);
  }
}

TEST(HashRow, IsThatOfTheLibraryForStoredBits) {
  std::mt19937 random(2);
  std::uniform_int_distribution<int> finite(0, 0x7BFF);
  std::bernoulli_distribution sign;
  for (const std::size_t size : Sizes()) {
    std::vector<std::uint16_t> row(size);
    for (std::uint16_t& bits : row)
      bits = static_cast<std::uint16_t>(finite(random) | (sign(random) ? 0x8000 : 0));
    ExpectHash(row, WeightFormat::kF16);
    ExpectHash(row, WeightFormat::kBf16);
  }
}

TEST(HashRow, FindsWhatIsNotFiniteAnywhere) {
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{60}, std::size_t{61}, std::size_t{79}, std::size_t{300}}) {
    for (std::size_t at = 0; at < size; ++at) {
      std::vector<float> row(size, 1);
      row[at] = std::bit_cast<float>(0xFF800001U);  // a signalling NaN
      ExpectHash(row);
      for (const std::uint16_t bad : std::to_array<std::uint16_t>({0x7C00, 0xFC01, 0x7C7F})) {
        std::vector<std::uint16_t> bits(size, 0x3C00);
        bits[at] = bad;
        ExpectHash(bits, WeightFormat::kF16);
        bits[at] = static_cast<std::uint16_t>(bad + 0x0380);
        ExpectHash(bits, WeightFormat::kBf16);
      }
    }
  }
}

}  // namespace
}  // namespace codegen::model
