// SPDX-License-Identifier: Apache-2.0
#include "support/simt/bits.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>

namespace codegen::simt {
namespace {

constexpr int kRounds = 2000;

TEST(Bits, ReinterpretsFloats) {
  EXPECT_EQ(__float_as_uint(1.0F), 0x3F800000U);
  EXPECT_EQ(__float_as_int(-0.0F), INT32_MIN);
  EXPECT_EQ(__uint_as_float(0xC0000000U), -2.0F);
  EXPECT_EQ(__int_as_float(0x40400000), 3.0F);
  EXPECT_EQ(__double_as_longlong(1.0), 0x3FF0000000000000);
  EXPECT_EQ(__longlong_as_double(0x4000000000000000), 2.0);
}

// Positions of bits by looking at each.
TEST(Bits, CountsAndFindsThem) {
  std::mt19937 random(1);
  for (int round = 0; round < kRounds; ++round) {
    const auto x = static_cast<unsigned>(random() >> (random() % 32));
    int count = 0, lowest = 0, highest = 0;
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; ++bit) {
      if ((x >> bit & 1) == 0) continue;
      ++count;
      reversed |= 1U << (31 - bit);
      if (lowest == 0) lowest = bit + 1;
      highest = bit + 1;
    }
    ASSERT_EQ(__popc(x), count);
    ASSERT_EQ(__ffs(static_cast<int>(x)), lowest);
    ASSERT_EQ(__clz(static_cast<int>(x)), 32 - highest);
    ASSERT_EQ(__brev(x), reversed);
    ASSERT_EQ(__popcll(std::uint64_t{x} << 20), count);
    ASSERT_EQ(__ffsll(static_cast<long long>(std::uint64_t{x} << 20)), lowest ? lowest + 20 : 0);
    ASSERT_EQ(__clzll(static_cast<long long>(std::uint64_t{x})), 64 - highest);
  }
}

TEST(Bits, PermutesBytes) {
  std::mt19937 random(2);
  for (int round = 0; round < kRounds; ++round) {
    const unsigned words[2] = {static_cast<unsigned>(random()), static_cast<unsigned>(random())};
    const auto selector = static_cast<unsigned>(random());
    unsigned char bytes[8];
    std::memcpy(bytes, words, 8);
    for (int i = 0; i < 4; ++i) {
      const unsigned digit = selector >> 4 * i & 15;
      const unsigned byte = bytes[digit % 8];
      const unsigned expected = digit < 8 ? byte : byte >= 128 ? 255U : 0U;
      ASSERT_EQ(__byte_perm(words[0], words[1], selector) >> 8 * i & 255, expected);
    }
  }
  EXPECT_EQ(__byte_perm(0x33221100, 0x77665544, 0x7531), 0x77553311U);
}

TEST(Bits, ShiftsPairsOfWords) {
  EXPECT_EQ(__funnelshift_l(0x80000001, 0x12345678, 0), 0x12345678U);
  EXPECT_EQ(__funnelshift_l(0x80000001, 0x12345678, 4), 0x23456788U);
  EXPECT_EQ(__funnelshift_l(0x80000001, 0x12345678, 36), 0x23456788U);
  EXPECT_EQ(__funnelshift_r(0x80000001, 0x12345678, 0), 0x80000001U);
  EXPECT_EQ(__funnelshift_r(0x80000001, 0x12345678, 4), 0x88000000U);
}

TEST(Bits, MultiplyWide) {
  EXPECT_EQ(__umulhi(0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFEU);
  EXPECT_EQ(__umulhi(0xD2511F53, 0x12345678),
            static_cast<unsigned>(std::uint64_t{0xD2511F53} * 0x12345678 / 0x100000000));
  EXPECT_EQ(__mulhi(-2, 0x40000000), -1);
  EXPECT_EQ(__umul64hi(1ULL << 63, 6), 3U);
}

TEST(Bits, AddProductsOfBytes) {
  std::mt19937 random(3);
  for (int round = 0; round < kRounds; ++round) {
    std::int8_t x[4], y[4];
    int expected = 17;
    for (int i = 0; i < 4; ++i) {
      x[i] = static_cast<std::int8_t>(random());
      y[i] = static_cast<std::int8_t>(random());
      expected += x[i] * y[i];
    }
    int packed_x, packed_y;
    std::memcpy(&packed_x, x, 4);
    std::memcpy(&packed_y, y, 4);
    ASSERT_EQ(__dp4a(packed_x, packed_y, 17), expected);
  }
}

TEST(Bits, CompareNumbersOfOneType) {
  EXPECT_EQ(min(-1, 2), -1);
  EXPECT_EQ(max(-1, 2), 2);
  EXPECT_EQ(min(1U, ~0U), 1U);
  EXPECT_EQ(max(1LL << 40, 5LL), 1LL << 40);
  EXPECT_EQ(max(std::size_t{3}, std::size_t{4}), 4U);
}

}  // namespace
}  // namespace codegen::simt
