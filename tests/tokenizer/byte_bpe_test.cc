// SPDX-License-Identifier: Apache-2.0
//
// The oracle is the definition: merge the pair of lowest rank, leftmost first, until none is left.
// Vocabularies are random, not trained: their merges make tokens that are never reached, ranks that
// fall as tokens grow, and every other thing that a file may say.
#include "tokenizer/byte_bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace codegen::tokenizer {
namespace {

struct RandomVocabulary {
  std::vector<std::string> texts;
  std::vector<Merge> merges;
};

// Letters `a`, `b`, ... and tokens made of them by `merge_count` random merges, ranked at random.
RandomVocabulary MakeVocabulary(std::mt19937& random, int letters, int merge_count,
                                std::size_t longest) {
  RandomVocabulary made;
  for (int byte = 0; byte < 256; ++byte) made.texts.emplace_back(1, static_cast<char>(byte));
  std::vector<TokenId> usable;
  for (int i = 0; i < letters; ++i) usable.push_back('a' + i);
  std::set<std::string> known;
  for (int tries = 0; tries < merge_count * 4; ++tries) {
    const TokenId left = usable[random() % usable.size()];
    const TokenId right = usable[random() % usable.size()];
    const std::string text =
        made.texts[static_cast<std::size_t>(left)] + made.texts[static_cast<std::size_t>(right)];
    if (text.size() > longest || !known.insert(text).second) continue;
    const auto id = static_cast<TokenId>(made.texts.size());
    made.texts.push_back(text);
    made.merges.push_back({left, right, id, 0});
    usable.push_back(id);
    if (static_cast<int>(made.merges.size()) == merge_count) break;
  }
  std::vector<std::uint32_t> ranks(made.merges.size());
  for (std::uint32_t i = 0; i < ranks.size(); ++i) ranks[i] = i;
  if (random() % 2 == 0) std::shuffle(ranks.begin(), ranks.end(), random);
  for (std::size_t i = 0; i < ranks.size(); ++i) made.merges[i].rank = ranks[i];
  return made;
}

ByteBpe MakeBpe(const RandomVocabulary& vocabulary) {
  std::array<TokenId, 256> byte_ids{};
  for (TokenId byte = 0; byte < 256; ++byte) byte_ids[static_cast<std::size_t>(byte)] = byte;
  PairRanks ranks(vocabulary.merges.size());
  std::vector<TokenId> results(vocabulary.merges.size());
  for (const Merge& merge : vocabulary.merges) {
    EXPECT_EQ(ranks.Insert(merge.left, merge.right, merge.rank), PairRanks::Inserted::kYes);
    results[merge.rank] = merge.result;
  }
  std::vector<std::uint16_t> sizes;
  for (const std::string& text : vocabulary.texts) {
    sizes.push_back(static_cast<std::uint16_t>(text.size()));
  }
  return ByteBpe(byte_ids, std::move(ranks), std::move(results), std::move(sizes));
}

std::vector<TokenId> NaiveBpe(const RandomVocabulary& vocabulary, std::string_view piece) {
  std::map<std::pair<TokenId, TokenId>, const Merge*> merges;
  for (const Merge& merge : vocabulary.merges) merges[{merge.left, merge.right}] = &merge;
  std::vector<TokenId> ids;
  for (const char byte : piece) ids.push_back(static_cast<unsigned char>(byte));
  while (true) {
    const Merge* best = nullptr;
    std::size_t best_at = 0;
    for (std::size_t at = 0; at + 1 < ids.size(); ++at) {
      const auto found = merges.find({ids[at], ids[at + 1]});
      if (found == merges.end() || (best != nullptr && found->second->rank >= best->rank)) continue;
      best = found->second;
      best_at = at;
    }
    if (best == nullptr) return ids;
    ids[best_at] = best->result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

std::string RandomText(std::mt19937& random, int letters, std::size_t size) {
  std::string text;
  while (text.size() < size) {
    // Runs, since a run is where neighbours depend on each other the furthest.
    const std::size_t run = random() % 3 == 0 ? random() % 40 + 1 : 1;
    text.append(
        std::min(run, size - text.size()),
        static_cast<char>('a' + static_cast<int>(random() % static_cast<unsigned>(letters))));
  }
  return text;
}

// Compares with the oracle on pieces of all sizes up to 70, then of some larger ones.
void Compare(unsigned seed, int letters, int merges, std::size_t longest) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const RandomVocabulary vocabulary = MakeVocabulary(random, letters, merges, longest);
  const ByteBpe bpe = MakeBpe(vocabulary);
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size <= 70; ++size) sizes.push_back(size);
  for (const std::size_t size : {127U, 128U, 129U, 130U, 191U, 192U, 193U, 257U, 500U, 997U}) {
    sizes.push_back(size);
  }
  for (const std::size_t size : sizes) {
    const std::string piece = RandomText(random, letters, size);
    const std::vector<TokenId> expected = NaiveBpe(vocabulary, piece);

    std::vector<TokenId> encoded;
    bpe.Encode(piece, encoded);
    std::vector<TokenId> whole;
    bpe.EncodeWhole(piece, whole);

    ASSERT_EQ(encoded, expected) << piece;
    ASSERT_EQ(whole, expected) << piece;
  }
}

TEST(ByteBpe, AgreesWithTheDefinitionOnFewLetters) {
  for (unsigned seed = 0; seed < 150; ++seed) Compare(seed, 1 + static_cast<int>(seed % 3), 30, 24);
}

TEST(ByteBpe, AgreesWithTheDefinitionOnManyLetters) {
  for (unsigned seed = 0; seed < 40; ++seed) Compare(1000 + seed, 8, 300, 16);
}

TEST(ByteBpe, AgreesWithTheDefinitionWhereTokensAreLongerThanWindows) {
  for (unsigned seed = 0; seed < 60; ++seed) Compare(2000 + seed, 2, 60, 600);
}

TEST(ByteBpe, MergesTheLeftmostOfEqualsFirst) {
  RandomVocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary.texts.emplace_back(1, static_cast<char>(byte));
  vocabulary.texts.emplace_back("aa");
  vocabulary.merges = {{'a', 'a', 256, 0}};
  const ByteBpe bpe = MakeBpe(vocabulary);

  std::vector<TokenId> ids;
  bpe.Encode("aaaaa", ids);

  EXPECT_EQ(ids, (std::vector<TokenId>{256, 256, 'a'}));
}

TEST(ByteBpe, AppendsToWhatIsThere) {
  const ByteBpe bpe = MakeBpe({.texts = std::vector<std::string>(256, "x"), .merges = {}});

  std::vector<TokenId> ids = {7};
  bpe.Encode("ab", ids);
  bpe.Encode("", ids);
  bpe.Encode(std::string(300, 'c'), ids);

  ASSERT_EQ(ids.size(), 303U);
  EXPECT_EQ(ids[0], 7);
  EXPECT_EQ(ids[2], 'b');
}

// Merges that eat a run from its far end, so that no window fits before the end is seen.
TEST(ByteBpe, GivesUpWindowsThatNeverFit) {
  constexpr std::uint32_t kChain = 1000;
  RandomVocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary.texts.emplace_back(1, static_cast<char>(byte));
  TokenId tail = 'z';
  for (std::uint32_t rank = 0; rank < kChain; ++rank) {
    const auto id = static_cast<TokenId>(vocabulary.texts.size());
    vocabulary.texts.push_back("x" + vocabulary.texts[static_cast<std::size_t>(tail)]);
    vocabulary.merges.push_back({'x', tail, id, rank});
    tail = id;
  }
  vocabulary.merges.push_back({'x', 'x', static_cast<TokenId>(vocabulary.texts.size()), kChain});
  vocabulary.texts.emplace_back("xx");
  const ByteBpe bpe = MakeBpe(vocabulary);
  const std::string piece = std::string(999, 'x') + "z" + std::string(501, 'x') + "z";

  std::vector<TokenId> ids;
  bpe.Encode(piece, ids);

  EXPECT_EQ(ids, NaiveBpe(vocabulary, piece));
  EXPECT_EQ(ids.size(), 2U);
}

TEST(PairRanks, RefusesAPairTwice) {
  PairRanks ranks(4);

  EXPECT_EQ(ranks.Insert(1, 2, 7), PairRanks::Inserted::kYes);
  EXPECT_EQ(ranks.Insert(1, 2, 8), PairRanks::Inserted::kPresent);
  EXPECT_EQ(ranks.Insert(2, 1, 9), PairRanks::Inserted::kYes);
  EXPECT_EQ(ranks.Find(1, 2), 7U);
  EXPECT_EQ(ranks.Find(2, 2), PairRanks::kNone);
}

TEST(PairRanks, HoldsTheLargestIdsAndRanks) {
  PairRanks ranks(1);
  constexpr TokenId kLargest = (1 << PairRanks::kIdBits) - 1;

  EXPECT_EQ(ranks.Insert(kLargest, kLargest, PairRanks::kNone - 1), PairRanks::Inserted::kYes);

  EXPECT_EQ(ranks.Find(kLargest, kLargest), PairRanks::kNone - 1);
  EXPECT_EQ(ranks.Find(kLargest, 0), PairRanks::kNone);
}

}  // namespace
}  // namespace codegen::tokenizer
