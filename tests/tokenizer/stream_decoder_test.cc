// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/stream_decoder.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "tokenizer/tokenizer_file.h"

namespace codegen::tokenizer {
namespace {

// Ids 0 to 255 are the bytes.
std::shared_ptr<const Vocabulary> Bytes() { return *TokenizerFile().Load(); }

TEST(StreamDecoder, GivesACodePointWhenItsLastByteArrives) {
  const auto bytes = Bytes();
  std::string pending;

  EXPECT_EQ(AddToken(*bytes, 0xF0, pending), "");
  EXPECT_EQ(AddToken(*bytes, 0x9F, pending), "");
  EXPECT_EQ(AddToken(*bytes, 0x99, pending), "");
  EXPECT_EQ(AddToken(*bytes, 0x82, pending), "\U0001F642");
  EXPECT_EQ(FlushText(pending), "");
}

TEST(StreamDecoder, ReplacesWhatCannotBecomeACodePoint) {
  const auto bytes = Bytes();
  std::string pending;

  EXPECT_EQ(AddToken(*bytes, 0x80, pending), "\uFFFD");
  EXPECT_EQ(AddToken(*bytes, 0xE3, pending), "");
  EXPECT_EQ(AddToken(*bytes, 'x', pending), "\uFFFDx");
}

TEST(StreamDecoder, FlushesAnUnfinishedCodePointAsOneReplacement) {
  const auto bytes = Bytes();
  std::string pending;
  AddToken(*bytes, 0xE3, pending);
  AddToken(*bytes, 0x80, pending);

  EXPECT_EQ(FlushText(pending), "\uFFFD");
  EXPECT_EQ(FlushText(pending), "");
}

TEST(StreamDecoder, IdsWithoutTextAddNothing) {
  const auto bytes = Bytes();
  std::string pending;

  EXPECT_EQ(AddToken(*bytes, 0xC3, pending), "");
  EXPECT_EQ(AddToken(*bytes, 100'000, pending), "");
  EXPECT_EQ(AddToken(*bytes, -5, pending), "");
  EXPECT_EQ(AddToken(*bytes, 0xA9, pending), "\u00E9");
}

TEST(StreamDecoder, PartsAreValidAndJoinToTheDecodedWhole) {
  const auto bytes = Bytes();
  for (unsigned seed = 0; seed < 2000; ++seed) {
    std::mt19937 random(seed);
    std::vector<TokenId> ids;
    for (std::size_t count = random() % 30; count > 0; --count) {
      // Mostly the bytes that begin or continue code points.
      ids.push_back(
          static_cast<TokenId>(random() % 4 == 0 ? random() % 256 : 0x80 + random() % 128));
    }

    std::string joined;
    std::string pending;
    for (const TokenId id : ids) {
      const std::string part = AddToken(*bytes, id, pending);
      ASSERT_EQ(base::FindInvalidUtf8(part), std::nullopt) << "seed " << seed;
      ASSERT_LE(pending.size(), 3U) << "seed " << seed;
      joined += part;
    }
    joined += FlushText(pending);

    ASSERT_EQ(joined, bytes->Decode(ids)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace codegen::tokenizer
