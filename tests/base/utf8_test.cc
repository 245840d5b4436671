// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace codegen::base {
namespace {

constexpr std::string_view kBad = kReplacement;

std::string Utf8(char32_t code_point) {
  std::string text;
  AppendUtf8(code_point, text);
  return text;
}

TEST(Utf8, EveryScalarValueIsEncodedDecodedAndValid) {
  for (char32_t value = 0; value < 0x110000; ++value) {
    if (value >= 0xD800 && value < 0xE000) continue;

    const std::string text = Utf8(value);

    const CodePoint decoded = DecodeCodePoint(text.data());
    ASSERT_EQ(decoded.value, value);
    ASSERT_EQ(decoded.bytes, text.size());
    ASSERT_EQ(ScanCodePoint(text, 0).kind, Utf8Scan::Kind::kWhole);
    ASSERT_EQ(ScanCodePoint(text, 0).bytes, text.size());
  }
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(FindInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("plain"), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("na\xC3\xAFve \xF0\x9F\x99\x82"), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("ab\xFF"), 2U);
  EXPECT_EQ(FindInvalidUtf8("\xC3\xA9\xC3"), 2U);
  EXPECT_EQ(FindInvalidUtf8("\xC3\xA9x\x80y"), 3U);
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndValuesBeyondUnicode) {
  for (const char* text :
       {"\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF"}) {
    EXPECT_EQ(FindInvalidUtf8(text), 0U) << text;
  }
}

// The examples of the Unicode standard, section 3.9, tables 3-8 to 3-11.
TEST(Utf8, ReplacesEachMaximalSubpartOnce) {
  const auto bad = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += kBad;
    return text;
  };

  EXPECT_EQ(ToValidUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), bad(8) + "A");
  EXPECT_EQ(ToValidUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), bad(8) + "A");
  EXPECT_EQ(ToValidUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), bad(5) + "A" + bad(2) + "B");
  EXPECT_EQ(ToValidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), bad(4) + "A");
}

TEST(Utf8, ReplacesAnUnfinishedEndOnce) {
  EXPECT_EQ(ToValidUtf8("a\xF0\x9F\x99"), "a" + std::string(kBad));
}

TEST(Utf8, TailIsWhatMayStillBecomeACodePoint) {
  EXPECT_EQ(UnfinishedTail(""), 0U);
  EXPECT_EQ(UnfinishedTail("a"), 0U);
  EXPECT_EQ(UnfinishedTail("a\xC3"), 1U);
  EXPECT_EQ(UnfinishedTail("\xE3\x80"), 2U);
  EXPECT_EQ(UnfinishedTail("\xF0\x9F\x99"), 3U);
  EXPECT_EQ(UnfinishedTail("\xF0\x9F\x99\x82"), 0U);
  EXPECT_EQ(UnfinishedTail("\x80\x80\x80"), 0U) << "continuation bytes alone become nothing";
  EXPECT_EQ(UnfinishedTail("\xED\xA0"), 0U) << "half of a surrogate";
  EXPECT_EQ(UnfinishedTail("\xC3\xA9\xFF"), 0U);
}

}  // namespace
}  // namespace codegen::base
