// SPDX-License-Identifier: Apache-2.0
//
// Ids computed by Hugging Face's tokenizers (CodeGen1, CodeGen2) and tiktoken (CodeGen2.5): 369
// texts, each with control strings recognised and taken as text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/shared_files.h"
#include "tokenizer/load_tokenizer.h"

namespace codegen::tokenizer {
namespace {

using ::testing::ElementsAreArray;

struct Column {
  const char* name;
  const Vocabulary& vocabulary;
  AllowSpecial special;
};

std::vector<TokenId> Ids(const base::JsonDocument& line, const char* column) {
  std::vector<TokenId> ids;
  for (const std::int64_t id : line.root()[column].get_array())
    ids.push_back(static_cast<TokenId>(id));
  return ids;
}

class Golden : public ::testing::Test {
 protected:
  static constexpr const char* kFolders = "data/tokenizers/";

  // Returns the vocabulary of the published folder `name`, which exists.
  static std::shared_ptr<const Vocabulary> Load(const std::string& name) {
    auto loaded = LoadTokenizer(testing::SharedPath(kFolders + name));
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return *loaded;
  }
  static std::shared_ptr<const Vocabulary> LoadCodeGen25(const std::string& name) {
    auto loaded = LoadCodeGen25Tokenizer(testing::SharedPath(kFolders + name));
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return *loaded;
  }
};

TEST_F(Golden, EveryLineMatchesInAllSixColumns) {
  const std::string path = testing::SharedPath("golden/tokenizers.jsonl");
  CODEGEN_SKIP_WITHOUT(path);
  CODEGEN_SKIP_WITHOUT(testing::SharedPath(kFolders));
  const auto codegen1 = Load("codegen1");
  const auto codegen2 = Load("codegen2");
  const auto codegen25 = LoadCodeGen25("codegen1");
  const Column columns[] = {
      {"codegen1", *codegen1, AllowSpecial::kYes},   {"codegen2", *codegen2, AllowSpecial::kYes},
      {"codegen25", *codegen25, AllowSpecial::kYes}, {"plain1", *codegen1, AllowSpecial::kNo},
      {"plain2", *codegen2, AllowSpecial::kNo},      {"plain25", *codegen25, AllowSpecial::kNo}};

  std::ifstream file(path);
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    const auto document = base::JsonDocument::Parse(line, "golden");
    ASSERT_TRUE(document.ok()) << document.status();
    const std::string text(document->root()["text"].get_string().value());
    for (const Column& column : columns) {
      const auto ids = column.vocabulary.Encode(text, column.special);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, Ids(*document, column.name)) << column.name << ", line " << lines + 1;
      EXPECT_EQ(column.vocabulary.Decode(*ids), text) << column.name << ", line " << lines + 1;
    }
  }

  EXPECT_GT(lines, 300);
}

}  // namespace
}  // namespace codegen::tokenizer
