// SPDX-License-Identifier: Apache-2.0
#include "base/philox.h"

#include <gtest/gtest.h>

namespace codegen::base {
namespace {

// The known answers of Random123's kat_vectors, lines "philox4x32 10".
TEST(Philox, GivesThePublishedBitsForZeros) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627E8D5U, 0xE169C58DU, 0xBC57AC4CU, 0x9B00DBD8U}));
}

TEST(Philox, GivesThePublishedBitsForOnes) {
  EXPECT_EQ(Philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}),
            (PhiloxCounter{0x408F276DU, 0x41C83B0EU, 0xA20BC7C6U, 0x6D5451FDU}));
}

TEST(Philox, GivesThePublishedBitsForTheDigitsOfPi) {
  EXPECT_EQ(
      Philox4x32({0x243F6A88U, 0x85A308D3U, 0x13198A2EU, 0x03707344U}, {0xA4093822U, 0x299F31D0U}),
      (PhiloxCounter{0xD16CFE09U, 0x94FDCCEBU, 0x5001E420U, 0x24126EA1U}));
}

TEST(Philox, IsAConstantExpression) {
  constexpr PhiloxCounter kBits = Philox4x32({0, 0, 0, 0}, {0, 0});

  static_assert(kBits[0] == 0x6627E8D5U);
}

}  // namespace
}  // namespace codegen::base
