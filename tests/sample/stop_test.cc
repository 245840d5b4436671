// SPDX-License-Identifier: Apache-2.0
#include "sample/stop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace codegen::sample {
namespace {

// The definition: the text up to the leftmost occurrence of any stop string.
std::size_t NaiveFind(std::string_view text, const std::vector<std::string>& stops) {
  std::size_t first = std::string_view::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return first;
}

// The length of the longest suffix of `text` that is a proper prefix of a stop string.
std::size_t NaiveHold(std::string_view text, const std::vector<std::string>& stops) {
  std::size_t longest = 0;
  for (const std::string& stop : stops)
    for (std::size_t length = 1; length < stop.size() && length <= text.size(); ++length)
      if (text.substr(text.size() - length) == std::string_view(stop).substr(0, length))
        longest = std::max(longest, length);
  return longest;
}

// Feeds `text` in random pieces of up to `longest` bytes and checks each answer.
void ExpectFollowsTheDefinition(std::mt19937& random, const std::string& text,
                                const std::vector<std::string>& stops, std::size_t longest) {
  SCOPED_TRACE(testing::Message() << "text " << text << " stops " << testing::PrintToString(stops));
  const std::size_t end = std::min(NaiveFind(text, stops), text.size());
  StopMatcher matcher(stops);
  std::string emitted;
  std::size_t fed = 0;
  bool matched = false;
  while (fed < text.size()) {
    const std::size_t piece = 1 + random() % longest;
    const StopMatcher::Result result = matcher.Add(std::string_view(text).substr(fed, piece));
    fed = std::min(fed + piece, text.size());
    emitted += result.text;
    matched = result.matched;

    const std::string_view so_far = std::string_view(text).substr(0, fed);
    ASSERT_EQ(emitted, text.substr(0, emitted.size()));
    ASSERT_LE(emitted.size(), end) << "part of the stop string was emitted";
    if (NaiveFind(so_far, stops) == std::string_view::npos) {
      ASSERT_EQ(emitted.size(), fed - NaiveHold(so_far, stops)) << "held back too much or little";
    }
    if (matched) {
      ASSERT_EQ(emitted.size(), end);
    }
  }

  const StopMatcher::Result rest = matcher.Finish();
  ASSERT_EQ(emitted + rest.text, text.substr(0, end));
  ASSERT_EQ(rest.matched, NaiveFind(text, stops) != std::string_view::npos);
  ASSERT_TRUE(rest.matched || !matched);
}

std::string RandomText(std::mt19937& random, std::size_t length, unsigned alphabet) {
  std::string text(length, ' ');
  for (char& c : text) c = static_cast<char>('a' + random() % alphabet);
  return text;
}

TEST(StopMatcher, WithoutStopStringsEmitsAtOnce) {
  StopMatcher matcher({});

  EXPECT_EQ(matcher.Add("abc").text, "abc");
  EXPECT_EQ(matcher.Finish().text, "");
  EXPECT_FALSE(matcher.Finish().matched);
}

TEST(StopMatcher, EndsBeforeTheStopString) {
  StopMatcher matcher({"END"});

  const StopMatcher::Result result = matcher.Add("some ENDING");

  EXPECT_EQ(result.text, "some ");
  EXPECT_TRUE(result.matched);
}

TEST(StopMatcher, FindsAStopStringAcrossPieces) {
  StopMatcher matcher({"END"});

  EXPECT_EQ(matcher.Add("some E").text, "some ");
  EXPECT_EQ(matcher.Add("").text, "");
  EXPECT_EQ(matcher.Add("N").text, "");
  const StopMatcher::Result result = matcher.Add("D.");

  EXPECT_EQ(result.text, "");
  EXPECT_TRUE(result.matched);
}

TEST(StopMatcher, ReleasesWhatTurnsOutNotToBeAStopString) {
  StopMatcher matcher({"END"});

  matcher.Add("some EN");

  EXPECT_EQ(matcher.Add("E").text, "EN");
  EXPECT_EQ(matcher.Finish().text, "E");
}

TEST(StopMatcher, ReleasesAnUnfinishedStopStringAtTheEnd) {
  StopMatcher matcher({"\n\n"});

  EXPECT_EQ(matcher.Add("x = 1\n").text, "x = 1");
  const StopMatcher::Result result = matcher.Finish();

  EXPECT_EQ(result.text, "\n");
  EXPECT_FALSE(result.matched);
}

TEST(StopMatcher, IgnoresWhatFollowsAMatch) {
  StopMatcher matcher({"b"});

  matcher.Add("ab");

  EXPECT_EQ(matcher.Add("c").text, "");
  EXPECT_TRUE(matcher.Add("c").matched);
  EXPECT_EQ(matcher.Finish().text, "");
  EXPECT_TRUE(matcher.Finish().matched);
}

TEST(StopMatcher, TakesTheLeftmostOfSeveral) {
  StopMatcher matcher({"yy", "x"});

  EXPECT_EQ(matcher.Add("1yy2x").text, "1");
}

TEST(StopMatcher, TakesTheShorterOfTwoThatBeginTogether) {
  StopMatcher matcher({"abcd", "ab"});

  EXPECT_TRUE(matcher.Add("ab").matched);
}

TEST(StopMatcher, WaitsForAStopStringThatBeganEarlier) {
  StopMatcher completes({"abcd", "bc"});
  StopMatcher fails({"abcd", "bc"});
  StopMatcher ends({"abcd", "bc"});

  for (StopMatcher* matcher : {&completes, &fails, &ends}) {
    const StopMatcher::Result undecided = matcher->Add("-abc");
    EXPECT_EQ(undecided.text, "-");
    EXPECT_FALSE(undecided.matched);
  }

  EXPECT_EQ(completes.Add("d").text, "");
  EXPECT_EQ(fails.Add("x").text, "a");
  EXPECT_EQ(ends.Finish().text, "a");
  EXPECT_TRUE(completes.Finish().matched);
  EXPECT_TRUE(fails.Finish().matched);
  EXPECT_TRUE(ends.Finish().matched);
}

TEST(StopMatcher, FallsBackToAnOverlappingBeginning) {
  StopMatcher matcher({"aab"});

  EXPECT_EQ(matcher.Add("aaa").text, "a");
  EXPECT_EQ(matcher.Add("b").text, "");
  EXPECT_TRUE(matcher.Finish().matched);
}

TEST(StopMatcher, TreatsZeroAndHighBytesLikeAnyOther) {
  StopMatcher matcher({std::string("\0\xE2\x82\xAC", 4)});

  EXPECT_EQ(matcher.Add(std::string_view("a\0", 2)).text, "a");
  EXPECT_TRUE(matcher.Add("\xE2\x82\xAC").matched);
}

// "é" is C3 A9, "è" C3 A8: they share their first byte, and it is held with the rest of its code
// point or not at all.
TEST(StopMatcher, NeverCutsACodePoint) {
  StopMatcher matcher({"é!"});

  EXPECT_EQ(matcher.Add("è").text, "è");
  EXPECT_EQ(matcher.Add("é").text, "");
  EXPECT_EQ(matcher.Add("è").text, "éè");
}

TEST(StopMatcher, HoldsNoMoreThanAStopString) {
  StopMatcher matcher({std::string(1024, 'a') + "b"});
  std::size_t emitted = 0;

  for (int i = 0; i < 5000; ++i) emitted += matcher.Add("a").text.size();

  EXPECT_EQ(emitted, 5000U - 1024U);
}

// All texts of up to 7 letters over {a, b} against all pairs of stop strings of up to 3, byte by
// byte.
TEST(StopMatcher, FollowsTheDefinitionOnEverySmallText) {
  std::mt19937 random(1);
  std::vector<std::string> words;
  for (std::size_t length = 1; length <= 7; ++length) {
    for (unsigned bits = 0; bits < 1U << length; ++bits) {
      std::string word;
      for (std::size_t i = 0; i < length; ++i) word += (bits >> i & 1U) != 0 ? 'a' : 'b';
      words.push_back(word);
    }
  }
  constexpr std::size_t kStops = 2 + 4 + 8;

  for (std::size_t a = 0; a < kStops; ++a) {
    for (std::size_t b = a; b < kStops; ++b) {
      for (const std::string& text : words) {
        ASSERT_NO_FATAL_FAILURE(ExpectFollowsTheDefinition(random, text, {words[a], words[b]}, 1));
      }
    }
  }
}

TEST(StopMatcher, FollowsTheDefinitionOnRandomTextsCutAnywhere) {
  std::mt19937 random(2);
  for (int round = 0; round < 20'000; ++round) {
    const unsigned alphabet = 1 + static_cast<unsigned>(random() % 3);
    std::vector<std::string> stops(random() % 5);
    for (std::string& stop : stops) stop = RandomText(random, 1 + random() % 8, alphabet);
    const std::string text = RandomText(random, random() % 60, alphabet);

    ASSERT_NO_FATAL_FAILURE(ExpectFollowsTheDefinition(random, text, stops, 1 + random() % 9));
  }
}

}  // namespace
}  // namespace codegen::sample
