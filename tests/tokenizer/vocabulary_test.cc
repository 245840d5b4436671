// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/vocabulary.h"

#include <absl/status/status.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "codegen/options.h"
#include "support/shared_files.h"
#include "tokenizer/encode.h"
#include "tokenizer/load_tokenizer.h"
#include "tokenizer/tokenizer_file.h"
#include "tokenizer/vocabulary_builder.h"

namespace codegen::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr TokenId kEnd = 265;
constexpr TokenId kFourSpaces = 266;
constexpr TokenId kTwoSpaces = 267;
constexpr TokenId kTwoTabs = 268;
constexpr TokenId kMask = 269;

std::shared_ptr<const Vocabulary> Small() {
  auto loaded = SmallTokenizer().Load();
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return *loaded;
}

// Valid UTF-8 with much of what tokenizers stumble over.
std::string RandomText(std::mt19937& random) {
  constexpr std::string_view kFragments[] = {
      "<|endoftext|>", "<mask_1>", "<mask",  "    ", "  ", "\t\t",   "\n",
      "hello",         " hello",   "'s",     "'",    "12", "\u00E9", "\u65E5",
      "\U0001F642",    "\u00A0",   "\u2003", "re"};
  std::string text;
  const std::size_t count = random() % 40;
  for (std::size_t i = 0; i < count; ++i) {
    if (random() % 2 == 0) {
      text += kFragments[random() % std::size(kFragments)];
      continue;
    }
    const auto value = static_cast<char32_t>(random() % 0x110000 >> random() % 14);
    base::AppendUtf8(value >= 0xD800 && value < 0xE000 ? U'x' : value, text);
  }
  return text;
}

void ExpectRoundTrips(const Vocabulary& vocabulary, int count) {
  for (int seed = 0; seed < count; ++seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    const std::string text = RandomText(random);
    for (const AllowSpecial special : {AllowSpecial::kNo, AllowSpecial::kYes}) {
      ASSERT_EQ(vocabulary.Decode(Encode(vocabulary, text, special)), text) << "seed " << seed;
    }
  }
}

TEST(Vocabulary, EncodesEmptyTextAsNothing) {
  EXPECT_TRUE(Encode(*Small(), "").empty());
  EXPECT_TRUE(Encode(*Small(), "", AllowSpecial::kYes).empty());
}

TEST(Vocabulary, T10TakesTheLongestOfTokensThatStartTogether) {
  const auto small = Small();

  EXPECT_THAT(Encode(*small, "       x"), ElementsAre(kFourSpaces, kTwoSpaces, ' ', 'x'));
  EXPECT_THAT(Encode(*small, "\t\t\tx"), ElementsAre(kTwoTabs, '\t', 'x'));
}

TEST(Vocabulary, CutsWhiteSpaceOutBeforeThePattern) {
  const auto small = Small();

  EXPECT_THAT(Encode(*small, "  hello"), ElementsAre(kTwoSpaces, 259)) << "not its \" hello\"";
}

TEST(Vocabulary, UserTextNeverBecomesControlTokens) {
  const auto small = Small();

  for (const std::string_view text : {"<|endoftext|>", "<mask_1>", "a<mask_1><|endoftext|>"}) {
    const auto ids = Encode(*small, text);
    EXPECT_THAT(ids, ::testing::Not(::testing::Contains(kEnd)));
    EXPECT_THAT(ids, ::testing::Not(::testing::Contains(kMask)));
    EXPECT_EQ(small->Decode(ids), text);
  }
}

TEST(Vocabulary, ControlStringsBecomeTokensWhenAsked) {
  EXPECT_THAT(Encode(*Small(), "a<mask_1>b<|endoftext|>", AllowSpecial::kYes),
              ElementsAre('a', kMask, 'b', kEnd));
}

TEST(Vocabulary, WholePieceLookupCannotMakeControlTokens) {
  TokenizerFile file;
  file.vocabulary.push_back({"STOP", 256});
  file.model_options += R"(, "ignore_merges": true)";
  file.Added("STOP", 256, true, false);
  const auto loaded = file.Load();

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(Encode(**loaded, "STOP").size(), 4U);
  EXPECT_THAT(Encode(**loaded, "STOP", AllowSpecial::kYes), ElementsAre(256));
}

TEST(Vocabulary, MatchesTheFirstPassBeforeTheSecond) {
  TokenizerFile file;
  file.Added("ab", 300, false, true).Added("bc", 301, true, false);  // "bc" goes first
  const auto loaded = file.Load();

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encode(**loaded, "abc", AllowSpecial::kYes), ElementsAre('a', 301));
}

TEST(Vocabulary, RefusesTextThatIsNotUtf8WithItsOffset) {
  const auto ids = Small()->Encode("abc\xFFz", AllowSpecial::kNo);

  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("byte 3"));
}

TEST(Vocabulary, RefusesTextAboveTheLimit) {
  const std::string text(static_cast<std::size_t>(Limits::prompt_bytes) + 1, ' ');

  const auto ids = Small()->Encode(text, AllowSpecial::kNo);

  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("limit 67108864"));
}

TEST(Vocabulary, DecodesBytesThatAreNotUtf8AsReplacements) {
  const std::vector<TokenId> ids = {'a', 0xF0, 0x9F, 'b', 0x80};

  EXPECT_EQ(Small()->Decode(ids), "a\uFFFDb\uFFFD");
}

TEST(Vocabulary, DecodesIdsWithoutTextAsNothing) {
  const std::vector<TokenId> ids = {'a', -1, 100'000, 2'000'000'000, 'b'};

  EXPECT_EQ(Small()->Decode(ids), "ab");
}

TEST(Vocabulary, DecodesControlTokensAsTheirText) {
  EXPECT_EQ(Small()->Decode(std::vector<TokenId>{'a', kEnd, kMask}), "a<|endoftext|><mask_1>");
}

TEST(Vocabulary, FindsWholeTokens) {
  const auto small = Small();

  EXPECT_EQ(small->Find("<|endoftext|>"), kEnd);
  EXPECT_EQ(small->Find(" hello"), 260);
  EXPECT_EQ(small->Find("hel"), std::nullopt);
  EXPECT_EQ(small->Find(""), std::nullopt);
}

TEST(Vocabulary, RandomTextRoundTrips) { ExpectRoundTrips(*Small(), 3000); }

TEST(Vocabulary, RandomTextRoundTripsInThePublishedTokenizers) {
  const std::string published = testing::SharedPath("data/tokenizers");
  CODEGEN_SKIP_WITHOUT(published);
  for (const auto& loaded :
       {LoadTokenizer(published + "/codegen1"), LoadTokenizer(published + "/codegen2"),
        LoadCodeGen25Tokenizer(published + "/codegen2")}) {
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    ExpectRoundTrips(**loaded, 1000);
  }
}

// A megabyte of anything is encoded, in time that the benchmark measures, without recursion.
TEST(Vocabulary, HostileMegabytesRoundTrip) {
  constexpr std::size_t kMegabyte = 1 << 20;
  const auto small = Small();
  for (const std::string_view unit :
       {" ", "\t", "\n", "a", "l", "^", "'", "<mask_", "hellohe", " \t\n", "\u3000", "\u65E5"}) {
    std::string text;
    while (text.size() < kMegabyte) text.append(unit);

    ASSERT_EQ(small->Decode(Encode(*small, text, AllowSpecial::kYes)), text) << unit;
  }
}

// tiktoken's rule: any two neighbours merge that are a token together, the lowest id first.
TEST(VocabularyBuilder, MergesByRankOfTheResult) {
  VocabularyBuilder builder("ranks");
  for (int byte = 0; byte < 256; ++byte) {
    ASSERT_TRUE(builder.AddPiece(std::string(1, static_cast<char>(byte)), byte).ok());
  }
  std::int64_t id = 256;
  for (const char* piece : {"    ", "   ", "  ", "ab", "bc", "abc"}) {
    ASSERT_TRUE(builder.AddPiece(piece, id++).ok());
  }
  ASSERT_TRUE(builder.AddMergesByRank().ok());
  const auto built = builder.Build();

  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_THAT(Encode(**built, "abc"), ElementsAre(261));
  EXPECT_THAT(Encode(**built, "bcab"), ElementsAre(260, 259));
  EXPECT_THAT(Encode(**built, "          x"), ElementsAre(256, 256, ' ', ' ', 'x'))
      << "nine spaces are a piece: runs of four from the left, then one";
}

}  // namespace
}  // namespace codegen::tokenizer
