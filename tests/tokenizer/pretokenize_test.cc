// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/pretokenize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/unicode_classes.h"

namespace codegen::tokenizer {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Pieces(std::string_view text) {
  std::vector<std::string> pieces;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = PieceEnd(text, begin);
    EXPECT_GT(end, begin);
    pieces.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return pieces;
}

TEST(Pretokenize, TakesOneSpaceIntoTheFollowingRun) {
  EXPECT_THAT(Pieces("def f(x1): return"),
              ElementsAre("def", " f", "(", "x", "1", "):", " return"));
  EXPECT_THAT(Pieces(" 12 ab !?"), ElementsAre(" 12", " ab", " !?"));
}

TEST(Pretokenize, LeavesTheLastSpaceOfARunToTheNextPiece) {
  EXPECT_THAT(Pieces("    x"), ElementsAre("   ", " x"));
  EXPECT_THAT(Pieces("a  b"), ElementsAre("a", " ", " b"));
  EXPECT_THAT(Pieces("\n    y"), ElementsAre("\n   ", " y"));
}

TEST(Pretokenize, LeavesAnyOtherLastWhiteSpaceAlone) {
  EXPECT_THAT(Pieces("a\n\nb"), ElementsAre("a", "\n", "\n", "b"));
  EXPECT_THAT(Pieces("\t\tx"), ElementsAre("\t", "\t", "x"));
  EXPECT_THAT(Pieces(" \u00A0b"), ElementsAre(" ", "\u00A0", "b"));
  EXPECT_THAT(Pieces("\u3000\u3000b"), ElementsAre("\u3000", "\u3000", "b"));
}

TEST(Pretokenize, TakesWhiteSpaceAtTheEndWhole) {
  EXPECT_THAT(Pieces("a \t\n  "), ElementsAre("a", " \t\n  "));
  EXPECT_THAT(Pieces(" "), ElementsAre(" "));
  EXPECT_THAT(Pieces("\u2003"), ElementsAre("\u2003"));
}

TEST(Pretokenize, CutsContractionsInLowerCaseOnly) {
  EXPECT_THAT(Pieces("don't we'll I'd"), ElementsAre("don", "'t", " we", "'ll", " I", "'d"));
  EXPECT_THAT(Pieces("you're I've he's I'm"),
              ElementsAre("you", "'re", " I", "'ve", " he", "'s", " I", "'m"));
  EXPECT_THAT(Pieces("WE'RE"), ElementsAre("WE", "'", "RE"));
  EXPECT_THAT(Pieces("'l"), ElementsAre("'", "l"));
  EXPECT_THAT(Pieces("'"), ElementsAre("'"));
}

TEST(Pretokenize, ContractionWinsOnlyWhereAPieceStarts) {
  EXPECT_THAT(Pieces("x='''s'''"), ElementsAre("x", "='''", "s", "'''"));
  EXPECT_THAT(Pieces(" 's"), ElementsAre(" '", "s"));
}

TEST(Pretokenize, KnowsUnicodeClasses) {
  EXPECT_THAT(Pieces("\u00E9\u4E2D x\u0301y"), ElementsAre("\u00E9\u4E2D", " x", "\u0301", "y"))
      << "a combining mark is neither letter nor number";
  EXPECT_THAT(Pieces("\u00B2\u00BC7a"), ElementsAre("\u00B2\u00BC7", "a"));
  EXPECT_THAT(Pieces("a\u200Bb"), ElementsAre("a", "\u200B", "b")) << "not White_Space";
  EXPECT_THAT(Pieces("\x1C"), ElementsAre("\x1C")) << "a separator for Python only";
}

TEST(UnicodeClasses, EndsOfTheTableAreRight) {
  EXPECT_EQ(ClassOf(0), CharClass::kOther);
  EXPECT_EQ(ClassOf(U'a'), CharClass::kLetter);
  EXPECT_EQ(ClassOf(U'\u0660'), CharClass::kNumber);
  EXPECT_EQ(ClassOf(U'\u3000'), CharClass::kSpace);
  EXPECT_EQ(ClassOf(0x323AF), CharClass::kLetter) << "the last ideograph of Unicode 16";
  EXPECT_EQ(ClassOf(0x323B0), CharClass::kOther);
  EXPECT_EQ(ClassOf(0x10FFFF), CharClass::kOther);
}

}  // namespace
}  // namespace codegen::tokenizer
