// SPDX-License-Identifier: Apache-2.0
//
// Random operations on a small memory against its definition, NaiveMemory, and against a device
// that remembers for each place which tokens its keys and values depend on: whatever goes wrong
// with the blocks, a sequence then finds a place that depends on others than its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kv/naive_memory.h"
#include "kv/paged_memory.h"

namespace codegen::kv {
namespace {

using Tokens = std::vector<TokenId>;

constexpr int kBlocks = 24;
constexpr int kBlockTokens = 3;
constexpr int kQuota = 5;
constexpr int kLongest = 24;
constexpr std::size_t kMostSequences = 6;

struct Sequence {
  std::string salt = {};
  Tokens tokens = {};
  int computed = 0;
  BlockTable table = {};
  NaiveMemory::Table* naive = nullptr;

  std::span<const TokenId> Computed() const {
    return std::span(tokens).first(static_cast<std::size_t>(computed));
  }
};

class RandomRun {
 public:
  RandomRun(unsigned seed, PrefixCacheOptions cache)
      : random_(seed), memory_({.blocks = kBlocks, .cache = std::move(cache)}) {}

  void Operate() {
    switch (Below(8)) {
      case 0:
        return Begin();
      case 1:
        return Fork();
      case 2:
      case 3:
      case 4:
        return Compute();
      case 5:
        return Keep();
      case 6:
        return Release();
      default:
        return Complete();
    }
  }

  void ExpectAsDefined() const {
    ASSERT_EQ(memory_.available(), naive_.Available());
    ASSERT_EQ(memory_.used(), kBlocks - naive_.Available());
    ASSERT_EQ(memory_.idle(), naive_.Idle());
    ASSERT_EQ(memory_.cache().entries(), naive_.Entries());
    ASSERT_EQ(memory_.cache().salts(), static_cast<int>(naive_.Salts().size()));
    ASSERT_EQ(memory_.pool().free(), naive_.Ready());
    for (BlockId block = 0; block < kBlocks; ++block) {
      ASSERT_EQ(memory_.pool().references(block), naive_.References(block)) << "block " << block;
      ASSERT_EQ(memory_.pool().generation(block), naive_.generation(block)) << "block " << block;
    }
    for (const Sequence& sequence : sequences_) {
      ASSERT_EQ(sequence.table.blocks, sequence.naive->blocks);
      ASSERT_EQ(sequence.table.kept, sequence.naive->kept);
    }
  }

  void ExpectInvariants() const {
    for (const std::string& salt : naive_.Salts()) ASSERT_LE(naive_.IdleOf(salt), kQuota);
    for (const Sequence& sequence : sequences_) {
      for (int at = 0; at < sequence.computed; ++at)
        ASSERT_EQ(Place(sequence, at), Dependence(sequence, at)) << "another's key at " << at;
      for (const Sequence& other : sequences_)
        if (&other != &sequence) ExpectSharesOnlyEquals(sequence, other);
    }
  }

  std::size_t adopted() const { return adopted_; }
  std::size_t refused() const { return refused_; }

 private:
  int Below(int end) { return static_cast<int>(random_() % static_cast<unsigned>(end)); }

  // Words of two tokens under two salts: prefixes repeat often.
  void Extend(Tokens& tokens) {
    const auto length = static_cast<std::size_t>(Below(kLongest)) + 1;
    while (tokens.size() < length) tokens.push_back(Below(8) == 0 ? 1 : 0);
  }

  void Begin() {
    if (sequences_.size() == kMostSequences) return;
    Sequence& sequence = sequences_.emplace_back();
    sequence.salt = Below(3) == 0 ? "rare" : "frequent";
    Extend(sequence.tokens);
    sequence.naive = &naive_.Begin();
    const Tokens all_but_last(sequence.tokens.begin(), sequence.tokens.end() - 1);
    sequence.computed = memory_.Adopt(sequence.salt, all_but_last, sequence.table);
    naive_.Adopt(sequence.salt, all_but_last, *sequence.naive);
    adopted_ += static_cast<std::size_t>(sequence.computed);
    ASSERT_EQ(sequence.computed, static_cast<int>(sequence.naive->blocks.size()) * kBlockTokens);
  }

  void Fork() {
    if (sequences_.empty() || sequences_.size() == kMostSequences) return;
    const Sequence& other = Any();
    const int shared = Below(other.computed + 1);
    Sequence& sequence = sequences_.emplace_back();
    sequence.salt = other.salt;
    sequence.tokens.assign(other.tokens.begin(), other.tokens.begin() + shared);
    Extend(sequence.tokens);
    sequence.naive = &naive_.Begin();
    sequence.computed = memory_.Share(other.table, shared, sequence.table);
    naive_.Share(*other.naive, shared, *sequence.naive);
    ASSERT_EQ(sequence.computed, shared / kBlockTokens * kBlockTokens);
  }

  void Compute() {
    if (sequences_.empty()) return;
    Sequence& sequence = Any();
    const int until =
        std::min(sequence.computed + 1 + Below(7), static_cast<int>(sequence.tokens.size()));
    const auto had = sequence.table.blocks.size();
    const int missing = memory_.BlocksFor(until) - static_cast<int>(had);
    const bool possible = naive_.MakeFree(missing);
    ASSERT_EQ(memory_.Grow(until, sequence.table), possible);
    refused_ += possible ? 0 : 1;
    if (!possible) return;

    for (std::size_t i = had; i < sequence.table.blocks.size(); ++i)
      ASSERT_TRUE(naive_.Took(sequence.table.blocks[i], *sequence.naive));
    for (; sequence.computed < until; ++sequence.computed)
      Place(sequence, sequence.computed) = Dependence(sequence, sequence.computed);
  }

  void Keep() {
    if (sequences_.empty()) return;
    Sequence& sequence = Any();
    memory_.Keep(sequence.salt, sequence.Computed(), sequence.table);
    naive_.Keep(sequence.salt, Tokens(sequence.Computed().begin(), sequence.Computed().end()),
                *sequence.naive);
  }

  void Release() {
    if (sequences_.empty()) return;
    Sequence& sequence = Any();
    if (Below(2) == 0) Keep();
    const StepId fence = completed_ + Below(4) - 1;
    memory_.Release(sequence.table, fence);
    naive_.Release(*sequence.naive, fence);
    sequences_.remove_if([&](const Sequence& other) { return &other == &sequence; });
  }

  void Complete() {
    completed_ += Below(3);
    memory_.Complete(completed_);
    naive_.Complete(completed_);
  }

  Sequence& Any() {
    return *std::next(sequences_.begin(), Below(static_cast<int>(sequences_.size())));
  }

  static void ExpectSharesOnlyEquals(const Sequence& one, const Sequence& other) {
    for (std::size_t i = 0; i < one.table.blocks.size(); ++i) {
      const auto found = std::ranges::find(other.table.blocks, one.table.blocks[i]);
      if (found == other.table.blocks.end()) continue;
      const auto end = static_cast<std::ptrdiff_t>(i + 1) * kBlockTokens;
      ASSERT_EQ(found - other.table.blocks.begin(), static_cast<std::ptrdiff_t>(i));
      ASSERT_EQ(one.salt, other.salt);
      ASSERT_LE(end, one.computed) << "shared, but not full";
      ASSERT_TRUE(std::equal(one.tokens.begin(), one.tokens.begin() + end, other.tokens.begin(),
                             other.tokens.begin() + std::min<std::ptrdiff_t>(end, other.computed)));
    }
  }

  // What the keys and values of token `at` depend on: the salt does not matter to a device, but
  // nothing may be found under another.
  static std::string Dependence(const Sequence& sequence, int at) {
    std::string dependence = sequence.salt;
    for (int i = 0; i <= at; ++i)
      dependence += std::to_string(sequence.tokens[static_cast<std::size_t>(i)]);
    return dependence;
  }

  template <typename Places>
  static auto& PlaceIn(Places& device, const Sequence& sequence, int at) {
    const BlockId block = sequence.table.blocks[static_cast<std::size_t>(at / kBlockTokens)];
    const auto first = static_cast<std::size_t>(block) * kBlockTokens;
    return device[first + static_cast<std::size_t>(at % kBlockTokens)];
  }
  std::string& Place(const Sequence& sequence, int at) { return PlaceIn(device_, sequence, at); }
  const std::string& Place(const Sequence& sequence, int at) const {
    return PlaceIn(device_, sequence, at);
  }

  std::mt19937 random_;
  PagedMemory memory_;
  NaiveMemory naive_{kBlocks, kBlockTokens, kQuota};
  std::list<Sequence> sequences_;
  std::vector<std::string> device_ = std::vector<std::string>(std::size_t{kBlocks} * kBlockTokens);
  StepId completed_ = 0;
  std::size_t adopted_ = 0;
  std::size_t refused_ = 0;
};

void ExpectFollowsTheDefinition(const PrefixCacheOptions& cache) {
  const unsigned seed = 20260802;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  RandomRun run(seed, cache);

  for (int i = 0; i < 20'000; ++i) {
    SCOPED_TRACE(testing::Message() << "operation " << i);
    run.Operate();
    run.ExpectAsDefined();
    run.ExpectInvariants();
    if (testing::Test::HasFatalFailure()) return;
  }

  EXPECT_GT(run.adopted(), 1000U) << "the cache was hardly used";
  EXPECT_GT(run.refused(), 100U) << "memory was hardly ever short";
}

TEST(PagedMemory, RandomOperationsFollowTheDefinition) {
  ExpectFollowsTheDefinition({.block_tokens = kBlockTokens, .quota = kQuota});
}

TEST(PagedMemory, N02RandomOperationsFollowTheDefinitionWhateverCollides) {
  ExpectFollowsTheDefinition({.block_tokens = kBlockTokens,
                              .quota = kQuota,
                              .hash = [](EntryId, std::span<const TokenId> tokens) {
                                return static_cast<std::uint64_t>(tokens[0]);
                              }});
}

}  // namespace
}  // namespace codegen::kv
