// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/tokenizer_json.h"

#include <absl/status/status.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/options.h"
#include "support/temp_folder.h"
#include "tokenizer/encode.h"
#include "tokenizer/tokenizer_file.h"

namespace codegen::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void ExpectRefused(const absl::StatusOr<std::shared_ptr<const Vocabulary>>& loaded,
                   absl::StatusCode code, std::string_view message) {
  EXPECT_EQ(loaded.status().code(), code) << loaded.status();
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(std::string(message)));
}

TEST(TokenizerJson, LoadsAByteLevelVocabulary) {
  const auto loaded = SmallTokenizer().Load();

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->size(), 256 + 9 + 5);
  EXPECT_EQ((*loaded)->family(), Family::kByteLevelBpe);
  EXPECT_THAT(Encode(**loaded, "hello hello"), ElementsAre(259, 260));
  EXPECT_EQ((*loaded)->Find("<mask_1>"), 269);
}

TEST(TokenizerJson, AcceptsBothFormsOfMerges) {
  TokenizerFile file = SmallTokenizer();
  file.merges[0] = R"(["h", "e"])";

  const auto loaded = file.Load();

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encode(**loaded, "he"), ElementsAre(256));
}

TEST(TokenizerJson, AcceptsAModelWithoutType) {
  TokenizerFile file = SmallTokenizer();
  file.model_options = R"("dropout": 0.0)";

  EXPECT_TRUE(file.Load().ok()) << file.Load().status();
}

TEST(TokenizerJson, TakesWholePiecesFirstWhereMergesAreIgnored) {
  TokenizerFile file;
  file.Merge("a", "b").Merge("b", "c").Merge("a", "bc");  // "abc" merges to "ab", "c"
  const auto by_merges = file.Load();
  file.model_options += R"(, "ignore_merges": true)";
  const auto whole_first = file.Load();

  ASSERT_TRUE(by_merges.ok() && whole_first.ok());
  EXPECT_THAT(Encode(**by_merges, "abc"), ElementsAre(256, 'c'));
  EXPECT_THAT(Encode(**whole_first, "abc"), ElementsAre(258));
}

TEST(TokenizerJson, EncodesAcrossPiecesWithoutThePattern) {
  TokenizerFile file;
  file.Merge("a", "Ġ").Merge("aĠ", "1");
  file.pre_tokenizer = R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";

  const auto loaded = file.Load();

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encode(**loaded, "a 1"), ElementsAre(257));
}

TEST(TokenizerJson, KeepsTokensOutsideTheAlphabetForDecodingOnly) {
  TokenizerFile file;
  file.vocabulary.push_back({"two words", 256});

  const auto loaded = file.Load();

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->Decode(std::vector<TokenId>{256}), "two words");
  EXPECT_EQ(Encode(**loaded, "two words").size(), 9U);
}

TEST(TokenizerJson, T01RefusesAFileAboveTheLimit) {
  const testing::TempFolder folder;
  folder.Write("tokenizer.json", "{}");
  std::filesystem::resize_file(folder.path() + "/tokenizer.json", Limits::tokenizer_bytes + 1);

  ExpectRefused(ReadTokenizerJson(folder.path()), absl::StatusCode::kResourceExhausted, "limit");
}

TEST(TokenizerJson, T01RefusesTooManyTokens) {
  TokenizerFile file;
  file.vocabulary.clear();
  for (std::int64_t id = 0; id <= Limits::vocabulary; ++id) {
    file.vocabulary.push_back({fmt::format("{:x}", id), id});
  }

  ExpectRefused(file.Load(), absl::StatusCode::kResourceExhausted, "more than 1048576 tokens");
}

TEST(TokenizerJson, T02RefusesANegativeId) {
  TokenizerFile file;
  file.vocabulary[65].id = -1;

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "token \"A\": id -1");
}

TEST(TokenizerJson, T02RefusesAnIdBeyondTheLimit) {
  TokenizerFile file;
  file.vocabulary[65].id = std::int64_t{1} << 40;

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "id 1099511627776");
}

TEST(TokenizerJson, T02RefusesAnIdGivenTwice) {
  TokenizerFile file;
  file.vocabulary[65].id = 66;

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "id 66 is both \"A\" and \"B\"");
}

TEST(TokenizerJson, T02RefusesAnIdThatIsNoInteger) {
  std::string json = TokenizerFile().Json();
  json.replace(json.find("\"A\": 65"), 7, "\"A\": 6.5");

  ExpectRefused(TokenizerFile::LoadJson(json), absl::StatusCode::kDataLoss, "expected an integer");
}

TEST(TokenizerJson, T04RefusesAMergeOfAnUnknownToken) {
  TokenizerFile file = SmallTokenizer();
  file.merges.push_back("\"q qu\"");

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument,
                "tokenizer.json.model.merges[9]: \"qu\" is not in the vocabulary");
}

TEST(TokenizerJson, T04RefusesAMergeWhoseResultIsUnknown) {
  TokenizerFile file = SmallTokenizer();
  file.merges.push_back("\"q u\"");

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "\"qu\" is not in the vocabulary");
}

TEST(TokenizerJson, RefusesAMergeGivenTwice) {
  TokenizerFile file = SmallTokenizer();
  file.merges.push_back(file.merges[0]);

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "appears twice");
}

TEST(TokenizerJson, T05RefusesAMergeThatIsNotTwoTokens) {
  for (const char* merge : {R"("he")", R"("h e l")", R"("h ")", R"(" e")", R"("")", R"(["h"])",
                            R"(["h", "e", "l"])", R"(["h", 1])", R"(["", "e"])", "3", "null"}) {
    TokenizerFile file = SmallTokenizer();
    file.merges[0] = merge;

    ExpectRefused(file.Load(), absl::StatusCode::kDataLoss, "model.merges[0]: expected");
  }
}

TEST(TokenizerJson, T06RefusesATokenAboveTheLimit) {
  TokenizerFile file;
  file.vocabulary.push_back({std::string(Limits::token_bytes + 1, 'a'), 256});

  ExpectRefused(file.Load(), absl::StatusCode::kResourceExhausted, "4097 bytes, limit 4096");
}

TEST(TokenizerJson, T07RefusesAnAlphabetWithoutAByte) {
  TokenizerFile file;
  file.vocabulary[0x80].spelled = "xx";

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "byte 0x80 has no token");
}

TEST(TokenizerJson, T08RefusesAnAddedTokenOnATakenId) {
  TokenizerFile file;
  file.Added("<s>", 65, true, false);

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "id 65 is both \"A\" and \"<s>\"");
}

TEST(TokenizerJson, T08RefusesAnAddedTokenThatIsAPieceOfAnotherId) {
  TokenizerFile file;
  file.Added("A", 300, true, false);

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "id 300, but 65 as a piece");
}

TEST(TokenizerJson, T08RefusesAnUnknownTokenThatIsNotThere) {
  TokenizerFile file;
  file.model_options = R"("type": "BPE", "unk_token": "<unk>")";

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "model.unk_token: \"<unk>\"");
}

TEST(TokenizerJson, T08RefusesASpecialTokenThatMergesCanMake) {
  TokenizerFile file = SmallTokenizer();
  file.Added("hello", 259, true, false);

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "ordinary text could become it");
}

TEST(TokenizerJson, T09RefusesAnEmptyAddedToken) {
  TokenizerFile file;
  file.Added("", 300, false, true);

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "id 300 is empty");
}

TEST(TokenizerJson, T09RefusesAHugeAddedToken) {
  TokenizerFile file;
  file.Added(std::string(10 << 20, 'x'), 300, false, true);

  ExpectRefused(file.Load(), absl::StatusCode::kResourceExhausted, "10485760 bytes, limit 4096");
}

TEST(TokenizerJson, T09RefusesAnAddedTokenTwice) {
  TokenizerFile file;
  file.Added("<s>", 300, false, true).Added("<s>", 301, false, true);

  ExpectRefused(file.Load(), absl::StatusCode::kInvalidArgument, "\"<s>\" appears twice");
}

TEST(TokenizerJson, T09AcceptsAddedTokensOfSpaces) {
  TokenizerFile file;
  file.Added("   ", 300, false, true);

  const auto loaded = file.Load();

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encode(**loaded, "    x"), ElementsAre(300, ' ', 'x'));
}

TEST(TokenizerJson, T11RefusesWhatItDoesNotHaveByName) {
  struct Case {
    std::string TokenizerFile::*part;
    const char* json;
    const char* named;
  };
  const Case cases[] = {
      {&TokenizerFile::normalizer, R"({"type": "NFC"})", "normalizer: \"NFC\""},
      {&TokenizerFile::pre_tokenizer, "null", "pre_tokenizer: \"null\""},
      {&TokenizerFile::pre_tokenizer, R"({"type": "Metaspace"})", "pre_tokenizer: \"Metaspace\""},
      {&TokenizerFile::pre_tokenizer,
       R"({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"})", "\"Split\""},
      {&TokenizerFile::pre_tokenizer, R"({"type": "ByteLevel", "add_prefix_space": true})",
       "pre_tokenizer.add_prefix_space: \"true\""},
      {&TokenizerFile::post_processor, R"({"type": "TemplateProcessing"})", "TemplateProcessing"},
      {&TokenizerFile::decoder, R"({"type": "WordPiece"})", "decoder: \"WordPiece\""},
      {&TokenizerFile::decoder, "null", "decoder: \"null\""},
      {&TokenizerFile::model_options, R"("type": "Unigram")", "model.type: \"Unigram\""},
      {&TokenizerFile::model_options, R"("type": "BPE", "dropout": 0.1)", "model.dropout: \"0.1\""},
      {&TokenizerFile::model_options, R"("continuing_subword_prefix": "##")", "\"##\""},
      {&TokenizerFile::model_options, R"("end_of_word_suffix": "</w>")", "\"</w>\""},
      {&TokenizerFile::model_options, R"("byte_fallback": true)", "byte_fallback"},
  };
  for (const Case& refused : cases) {
    TokenizerFile file = SmallTokenizer();
    file.*refused.part = refused.json;

    ExpectRefused(file.Load(), absl::StatusCode::kUnimplemented, refused.named);
  }
}

TEST(TokenizerJson, T11RefusesAddedTokensThatChangeTheirSurroundings) {
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
    TokenizerFile file;
    file.added_tokens.push_back(
        fmt::format(R"({{"id": 300, "content": "<s>", "{}": true}})", flag));

    ExpectRefused(file.Load(), absl::StatusCode::kUnimplemented, flag);
  }
}

TEST(TokenizerJson, T12IgnoresTruncationAndPadding) {
  TokenizerFile file = SmallTokenizer();
  file.more = R"("truncation": {"max_length": -1, "stride": 99999999999},
                 "padding": {"strategy": {"Fixed": 0}, "pad_id": -7})";

  EXPECT_TRUE(file.Load().ok()) << file.Load().status();
}

TEST(TokenizerJson, T13RefusesBytesThatAreNotUtf8) {
  TokenizerFile file;
  file.vocabulary.push_back({"\xC3(", 256});

  ExpectRefused(file.Load(), absl::StatusCode::kDataLoss, "tokenizer.json");
}

TEST(TokenizerJson, T13RefusesLoneSurrogates) {
  for (const char* escape : {"\\ud83d", "\\ude42", "\\ud83dx"}) {
    std::string json = TokenizerFile().Json();
    json.replace(json.find("\"A\": 65"), 3, "\"" + std::string(escape) + "\"");

    ExpectRefused(TokenizerFile::LoadJson(json), absl::StatusCode::kDataLoss, "tokenizer.json");
  }
}

TEST(TokenizerJson, ReadsEscapesAndSurrogatePairs) {
  std::string json = TokenizerFile().Added("x", 300, true, false).Json();
  json.replace(json.find("\"content\": \"x\""), 14, "\"content\": \"\\ud83d\\ude42\"");
  json.replace(json.find("\"Ġ\""), 4, "\"\\u0120\"");

  const auto loaded = TokenizerFile::LoadJson(json);

  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->Find("\U0001F642"), 300);
  EXPECT_THAT(Encode(**loaded, " "), ElementsAre(' '));
}

TEST(TokenizerJson, RefusesPartsOfTheWrongType) {
  struct Case {
    const char* json;
    const char* message;
  };
  const Case cases[] = {
      {R"({})", "pre_tokenizer"},
      {R"({"normalizer": 3})", "tokenizer.json.normalizer: expected object, found integer"},
      {R"({"pre_tokenizer": []})", "tokenizer.json.pre_tokenizer: expected object, found array"},
      {R"({"pre_tokenizer": {}})", "tokenizer.json.pre_tokenizer.type: missing"},
  };
  for (const Case& refused : cases) {
    const auto loaded = TokenizerFile::LoadJson(refused.json);

    EXPECT_FALSE(loaded.ok());
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(refused.message));
  }
  std::string without_model = SmallTokenizer().Json();
  without_model.replace(without_model.find("\"model\""), 7, "\"modem\"");
  ExpectRefused(TokenizerFile::LoadJson(without_model), absl::StatusCode::kDataLoss,
                "tokenizer.json.model: missing");
}

TEST(TokenizerJson, RefusesAddedTokensOfTheWrongShape) {
  for (const char* token :
       {"3", "{}", R"({"id": "x", "content": "<s>"})", R"({"id": 300})",
        R"({"id": 300, "content": 1})", R"({"id": 300, "content": "<s>", "special": "yes"})"}) {
    TokenizerFile file;
    file.added_tokens.push_back(token);

    ExpectRefused(file.Load(), absl::StatusCode::kDataLoss, "added_tokens[0]");
  }
}

}  // namespace
}  // namespace codegen::tokenizer
