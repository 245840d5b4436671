// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/codegen25.h"

#include <absl/status/status.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/shared_files.h"
#include "tokenizer/load_tokenizer.h"
#include "tokenizer/tokenizer_file.h"

namespace codegen::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CodeGen25, SaysHowToGiveTheFolderItNeeds) {
  const auto loaded = LoadCodeGen25Tokenizer("");

  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("LoadOptions::tokenizer_folder"));
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("gpt2.tiktoken"));
}

TEST(CodeGen25, RefusesAVocabularyThatIsNotGpt2s) {
  const auto loaded = CodeGen25Vocabulary(**SmallTokenizer().Load());

  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("not GPT-2's vocabulary"));
}

class CodeGen25Published : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = testing::SharedPath("data/tokenizers/codegen2");
    CODEGEN_SKIP_WITHOUT(folder);
    auto loaded = LoadCodeGen25Tokenizer(folder);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    vocabulary_ = *loaded;
  }

  std::vector<TokenId> Encode(std::string_view text, AllowSpecial special = AllowSpecial::kNo) {
    return *vocabulary_->Encode(text, special);
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
};

TEST_F(CodeGen25Published, HasEveryIdOfTheTable) {
  EXPECT_EQ(vocabulary_->family(), Family::kCodeGen25);
  EXPECT_EQ(vocabulary_->size(), 51200);
  EXPECT_EQ(vocabulary_->TextOf(50256), "<|endoftext|>");
  for (TokenId n = 2; n <= 31; ++n) {
    EXPECT_EQ(vocabulary_->TextOf(50288 - n), std::string(static_cast<std::size_t>(n), ' '));
  }
  for (TokenId n = 2; n <= 9; ++n) {
    EXPECT_EQ(vocabulary_->TextOf(50296 - n), std::string(static_cast<std::size_t>(n), '\t'));
  }
  EXPECT_EQ(vocabulary_->TextOf(50295), "<fim_prefix>");
  EXPECT_EQ(vocabulary_->TextOf(50304), "<jupyter_start>");
  EXPECT_EQ(vocabulary_->TextOf(50312), "<reponame>");
  EXPECT_EQ(vocabulary_->TextOf(50313), "<dummy_0>");
  EXPECT_EQ(vocabulary_->TextOf(50317), "<sep>");
  EXPECT_EQ(vocabulary_->TextOf(50318), "<eom>");
  for (TokenId n = 1; n <= 881; ++n) {
    EXPECT_EQ(vocabulary_->TextOf(51200 - n), fmt::format("<mask_{}>", n));
  }
}

TEST_F(CodeGen25Published, MergesWhiteSpaceInsidePieces) {
  EXPECT_THAT(Encode("    return x"), ElementsAre(50285, 1441, 2124));
  EXPECT_THAT(Encode("    "), ElementsAre(50284));
  EXPECT_THAT(Encode(std::string(40, ' ') + "x"), ElementsAre(50257, 50280, 2124));
  EXPECT_THAT(Encode("   \t\tq"), ElementsAre(50285, 197, 197, 80));
  EXPECT_THAT(Encode(std::string(11, '\t') + "z\n"), ElementsAre(50287, 197, 197, 89, 198));
}

TEST_F(CodeGen25Published, TakesControlStringsWhenAsked) {
  EXPECT_THAT(Encode("prefix<mask_1>suffix<|endoftext|><sep><mask_1>", AllowSpecial::kYes),
              ElementsAre(40290, 51199, 37333, 844, 50256, 50317, 51199));
  EXPECT_THAT(Encode("<fim_prefix>abc<fim_suffix>xyz<fim_middle>", AllowSpecial::kYes),
              ElementsAre(50295, 39305, 50297, 5431, 89, 50296));
}

}  // namespace
}  // namespace codegen::tokenizer
