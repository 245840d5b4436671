// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/gpt2_files.h"

#include <absl/status/status.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "codegen/options.h"
#include "support/shared_files.h"
#include "support/temp_folder.h"
#include "tokenizer/encode.h"
#include "tokenizer/load_tokenizer.h"
#include "tokenizer/tokenizer_file.h"

namespace codegen::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string VocabJson(const std::vector<SpelledToken>& tokens) {
  std::vector<std::string> entries;
  for (const SpelledToken& token : tokens) {
    entries.push_back(fmt::format("{}: {}", JsonString(token.spelled), token.id));
  }
  return fmt::format("{{{}}}", fmt::join(entries, ","));
}

std::vector<SpelledToken> SmallVocabulary() {
  auto tokens = ByteTokens();
  tokens.push_back({"he", 256});
  tokens.push_back({"ll", 257});
  tokens.push_back({"hell", 258});
  tokens.push_back({"<|endoftext|>", 259});
  return tokens;
}

constexpr const char* kMerges = "#version: 0.2\nh e\nl l\nhe ll\n";

void ExpectRefused(const testing::TempFolder& folder, absl::StatusCode code,
                   std::string_view message) {
  const auto loaded = LoadTokenizer(folder.path());
  EXPECT_EQ(loaded.status().code(), code) << loaded.status();
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(std::string(message)));
}

TEST(Gpt2Files, LoadsVocabularyAndMerges) {
  const testing::TempFolder folder;
  folder.Write("vocab.json", VocabJson(SmallVocabulary()));
  folder.Write("merges.txt", kMerges);

  const auto loaded = LoadTokenizer(folder.path());

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encode(**loaded, "hello"), ElementsAre(258, 'o'));
  EXPECT_THAT(Encode(**loaded, "<|endoftext|>", AllowSpecial::kYes), ElementsAre(259));
  EXPECT_EQ(Encode(**loaded, "<|endoftext|>").size(), 13U);
}

TEST(Gpt2Files, TakesOpenAiNamesToo) {
  const testing::TempFolder folder;
  folder.Write("encoder.json", VocabJson(SmallVocabulary()));
  folder.Write("vocab.bpe", kMerges);

  const auto loaded = LoadTokenizer(folder.path());

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encode(**loaded, "hell"), ElementsAre(258));
}

TEST(Gpt2Files, AddsTheTokensOfAddedTokensJson) {
  const testing::TempFolder folder;
  folder.Write("vocab.json", VocabJson(SmallVocabulary()));
  folder.Write("merges.txt", kMerges);
  folder.Write("added_tokens.json", R"({"  ": 260, "<sep>": 261, "<|endoftext|>": 259})");

  const auto loaded = LoadTokenizer(folder.path());

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encode(**loaded, "   a"), ElementsAre(260, ' ', 'a'));
  EXPECT_THAT(Encode(**loaded, "<sep>a", AllowSpecial::kYes), ElementsAre(261, 'a'));
}

TEST(Gpt2Files, T15AcceptsCrLfMissingEndAndNoVersionLine) {
  for (const char* merges :
       {"#version: 0.2\r\nh e\r\nl l\r\nhe ll\r\n", "h e\nl l\nhe ll", "h e\nl l\nhe ll\n\n\r\n"}) {
    const testing::TempFolder folder;
    folder.Write("vocab.json", VocabJson(SmallVocabulary()));
    folder.Write("merges.txt", merges);

    const auto loaded = LoadTokenizer(folder.path());

    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_THAT(Encode(**loaded, "hell"), ElementsAre(258));
  }
}

TEST(Gpt2Files, T05RefusesALineThatIsNotAMergeByNumber) {
  for (const char* line : {"he", "h e l", " e", "h ", "", "h  e"}) {
    const testing::TempFolder folder;
    folder.Write("vocab.json", VocabJson(SmallVocabulary()));
    folder.Write("merges.txt", fmt::format("#version: 0.2\nh e\n{}\nl l\n", line));

    ExpectRefused(folder, absl::StatusCode::kDataLoss, "merges.txt: line 3: expected two tokens");
  }
}

TEST(Gpt2Files, T04RefusesAMergeOfAnUnknownTokenByNumber) {
  const testing::TempFolder folder;
  folder.Write("vocab.json", VocabJson(SmallVocabulary()));
  folder.Write("merges.txt", "#version: 0.2\nh e\nq u\n");

  ExpectRefused(folder, absl::StatusCode::kInvalidArgument,
                "merges.txt: line 3: \"qu\" is not in the vocabulary");
}

TEST(Gpt2Files, T13RefusesMergesThatAreNotUtf8) {
  const testing::TempFolder folder;
  folder.Write("vocab.json", VocabJson(SmallVocabulary()));
  folder.Write("merges.txt", "h e\n\xFF e\n");

  ExpectRefused(folder, absl::StatusCode::kDataLoss, "merges.txt: not UTF-8 at byte 4");
}

TEST(Gpt2Files, T14ReadsTokenizerJsonWhereBothAre) {
  const testing::TempFolder folder;
  folder.Write("vocab.json", VocabJson(SmallVocabulary()));
  folder.Write("merges.txt", kMerges);
  folder.Write("tokenizer.json", SmallTokenizer().Json());

  const auto loaded = LoadTokenizer(folder.path());

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encode(**loaded, "hello"), ElementsAre(259));
}

TEST(Gpt2Files, SaysWhatToPutWhereNothingIs) {
  const testing::TempFolder folder;

  EXPECT_FALSE(HasTokenizerFiles(folder.path()));
  ExpectRefused(folder, absl::StatusCode::kNotFound,
                "put tokenizer.json there, or vocab.json and merges.txt");
  ExpectRefused(folder, absl::StatusCode::kNotFound, folder.path());
}

TEST(Gpt2Files, SaysWhichHalfIsMissing) {
  const testing::TempFolder only_vocabulary;
  only_vocabulary.Write("vocab.json", VocabJson(SmallVocabulary()));
  const testing::TempFolder only_merges;
  only_merges.Write("merges.txt", kMerges);

  EXPECT_TRUE(HasTokenizerFiles(only_vocabulary.path()));
  ExpectRefused(only_vocabulary, absl::StatusCode::kNotFound, "has vocab.json but not merges.txt");
  ExpectRefused(only_merges, absl::StatusCode::kNotFound, "has merges.txt but not vocab.json");
}

TEST(Gpt2Files, RefusesAddedTokensOfTheWrongType) {
  const testing::TempFolder folder;
  folder.Write("vocab.json", VocabJson(SmallVocabulary()));
  folder.Write("merges.txt", kMerges);
  folder.Write("added_tokens.json", R"({"<sep>": "260"})");

  ExpectRefused(folder, absl::StatusCode::kDataLoss, "added_tokens.json: id of \"<sep>\"");
}

TEST(Gpt2Files, RefusesAVocabBpeThatIsNotGpt2s) {
  const testing::TempFolder folder;
  folder.Write("vocab.bpe", kMerges);

  ExpectRefused(folder, absl::StatusCode::kInvalidArgument, "vocab.bpe: not GPT-2's vocabulary");
}

TEST(Gpt2Files, RefusesTiktokenLinesThatAreNot) {
  for (const char* line : {"IQ==", "I! 1", "IQ== x", "IQ== 7"}) {
    const testing::TempFolder folder;
    folder.Write("gpt2.tiktoken", fmt::format("IQ== 0\n{}\n", line));

    ExpectRefused(folder, absl::StatusCode::kDataLoss, "gpt2.tiktoken: line 2: expected base64");
  }
}

// The same vocabulary in every form in which it has been published.
class PublishedForms : public ::testing::Test {
 protected:
  static std::string Base64(std::string_view bytes) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
      std::uint32_t bits = 0;
      for (std::size_t i = 0; i < 3; ++i) {
        bits = bits << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
      }
      for (std::size_t i = 0; i < 4; ++i) {
        text.push_back(at + i <= bytes.size() ? kDigits[bits >> (18 - 6 * i) & 63] : '=');
      }
    }
    return text;
  }

  static void ExpectSameIds(const Vocabulary& one, const Vocabulary& other) {
    ASSERT_EQ(one.size(), other.size());
    for (TokenId id = 0; id < one.size(); ++id) ASSERT_EQ(one.TextOf(id), other.TextOf(id));
    for (const char* text : {"def hello_world():\n    return 'x'\n", "internationalization",
                             "\u65E5\u672C\u8A9E \U0001F642", "   \t\n  <|endoftext|>"}) {
      EXPECT_EQ(Encode(one, text), Encode(other, text)) << text;
    }
  }
};

TEST_F(PublishedForms, AllGiveTheSameIds) {
  const std::string published = testing::SharedPath("data/tokenizers/codegen1");
  CODEGEN_SKIP_WITHOUT(published);
  const std::string vocab = *base::ReadFile(published + "/vocab.json", Limits::tokenizer_bytes);
  const std::string merges = *base::ReadFile(published + "/merges.txt", Limits::tokenizer_bytes);
  const testing::TempFolder files;
  files.Write("vocab.json", vocab);
  files.Write("merges.txt", merges);
  const auto gpt2 = LoadTokenizer(files.path());
  ASSERT_TRUE(gpt2.ok()) << gpt2.status();
  EXPECT_EQ((*gpt2)->family(), Family::kGpt2);

  const testing::TempFolder bpe;
  bpe.Write("vocab.bpe", merges);
  const testing::TempFolder tiktoken;
  std::string ranks;
  for (TokenId id = 0; id < kGpt2Pieces; ++id) {
    ranks += fmt::format("{} {}\n", Base64((*gpt2)->TextOf(id)), id);
  }
  tiktoken.Write("gpt2.tiktoken", ranks);

  for (const testing::TempFolder* folder : {&bpe, &tiktoken}) {
    const auto loaded = LoadTokenizer(folder->path());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ((*loaded)->family(), Family::kGpt2);
    ExpectSameIds(**gpt2, **loaded);
  }
}

TEST_F(PublishedForms, FilesAndTokenizerJsonAreOneTokenizer) {
  for (const char* name : {"codegen1", "codegen2"}) {
    const std::string published = testing::SharedPath(std::string("data/tokenizers/") + name);
    CODEGEN_SKIP_WITHOUT(published);
    const auto by_files = ReadGpt2Files(published);
    const auto by_json = LoadTokenizer(published);

    ASSERT_TRUE(by_files.ok()) << by_files.status();
    ASSERT_TRUE(by_json.ok()) << by_json.status();
    EXPECT_EQ(FamilyName((*by_files)->family()), name);
    EXPECT_EQ(FamilyName((*by_json)->family()), name);
    ExpectSameIds(**by_files, **by_json);
  }
}

}  // namespace
}  // namespace codegen::tokenizer
