// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/added_tokens.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace codegen::tokenizer {
namespace {

using Token = std::pair<std::string, TokenId>;

// The definition: the first position where a token matches, and the longest that does there.
std::optional<AddedTokenMatcher::Match> NaiveNext(const std::vector<Token>& tokens,
                                                  std::string_view text, std::size_t from) {
  for (std::size_t at = from; at < text.size(); ++at) {
    std::optional<AddedTokenMatcher::Match> longest;
    for (const auto& [content, id] : tokens) {
      if (!text.substr(at).starts_with(content)) continue;
      if (longest && at + content.size() <= longest->end) continue;
      longest = {at, at + content.size(), id};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

std::string RandomString(std::mt19937& random, std::size_t longest) {
  std::string text(random() % longest + 1, 'a');
  for (char& c : text) c = static_cast<char>('a' + static_cast<int>(random() % 3));
  return text;
}

TEST(AddedTokenMatcher, FindsNothingWithoutTokens) {
  EXPECT_FALSE(AddedTokenMatcher().Next("anything", 0).has_value());
}

TEST(AddedTokenMatcher, AgreesWithTheDefinition) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    std::mt19937 random(seed);
    AddedTokenMatcher matcher;
    std::vector<Token> tokens;
    for (TokenId id = 0; id < static_cast<TokenId>(random() % 6 + 1); ++id) {
      const std::string content = RandomString(random, 5);
      bool known = false;
      for (const Token& token : tokens) known = known || token.first == content;
      if (known) continue;
      tokens.emplace_back(content, id);
      matcher.Add(content, id);
    }
    const std::string text = RandomString(random, 40);

    for (std::size_t from = 0; from <= text.size(); ++from) {
      const auto expected = NaiveNext(tokens, text, from);
      const auto found = matcher.Next(text, from);
      ASSERT_EQ(found.has_value(), expected.has_value()) << "seed " << seed;
      if (!found) continue;
      ASSERT_EQ(found->begin, expected->begin) << "seed " << seed;
      ASSERT_EQ(found->end, expected->end) << "seed " << seed;
      ASSERT_EQ(found->id, expected->id) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace codegen::tokenizer
