// SPDX-License-Identifier: Apache-2.0
#include "kv/prefix_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace codegen::kv {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using Tokens = std::vector<TokenId>;

// A pool of 16 blocks of two tokens, a cache, and a holder of blocks.
struct Scene {
  explicit Scene(const PrefixCacheOptions& options = {.quota = 16})
      : cache(pool, {.block_tokens = 2, .quota = options.quota, .hash = options.hash}) {}

  // Takes a block and keeps it.
  BlockId Insert(EntryId& parent, const Tokens& tokens, const std::string& salt = "salt") {
    const BlockId block = pool.Take().value();
    parent = cache.Insert(salt, parent, tokens, block);
    return block;
  }

  // Takes and keeps a block for every two of `tokens`; they have one holder then.
  std::vector<BlockId> Keep(const Tokens& tokens, const std::string& salt = "salt") {
    std::vector<BlockId> blocks;
    EntryId parent = kNoEntry;
    for (std::size_t i = 0; i < tokens.size(); i += 2)
      blocks.push_back(Insert(parent, {tokens[i], tokens[i + 1]}, salt));
    return blocks;
  }

  void Release(std::vector<BlockId> blocks, StepId fence = 0) {
    for (; !blocks.empty(); blocks.pop_back()) cache.Release(blocks.back(), fence);
  }

  std::vector<BlockId> KeepIdle(const Tokens& tokens, const std::string& salt = "salt") {
    std::vector<BlockId> blocks = Keep(tokens, salt);
    Release(blocks);
    return blocks;
  }

  // What Find finds, without holding on to it; it is the most recently used then.
  std::vector<BlockId> Find(const Tokens& tokens, const std::string& salt = "salt") {
    std::vector<BlockId> blocks = cache.Find(salt, tokens).blocks;
    Release(blocks);
    return blocks;
  }

  // How many of the first blocks of `tokens` are kept.
  std::size_t Kept(const Tokens& tokens, const std::string& salt = "salt") {
    return Find(tokens, salt).size();
  }

  BlockPool pool{16};
  PrefixCache cache;
};

TEST(PrefixCache, FindsTheLongestKeptPrefix) {
  Scene scene;
  const std::vector<BlockId> blocks = scene.KeepIdle({1, 2, 3, 4, 5, 6});

  EXPECT_THAT(scene.Find({1, 2, 3, 4, 5, 6, 7, 8}), ElementsAreArray(blocks));
  EXPECT_THAT(scene.Find({1, 2, 3, 4, 9, 6}), ElementsAre(blocks[0], blocks[1]));
  EXPECT_THAT(scene.Find({1, 2}), ElementsAre(blocks[0]));
}

TEST(PrefixCache, FindsWholeBlocksOnly) {
  Scene scene;
  const std::vector<BlockId> blocks = scene.KeepIdle({1, 2, 3, 4});

  EXPECT_THAT(scene.Find({1, 2, 3}), ElementsAre(blocks[0]));
  EXPECT_THAT(scene.Find({1}), IsEmpty());
  EXPECT_THAT(scene.Find({}), IsEmpty());
}

TEST(PrefixCache, FindsABlockOnlyAfterTheSameTokens) {
  Scene scene;
  scene.KeepIdle({1, 2, 3, 4});

  EXPECT_THAT(scene.Find({3, 4}), IsEmpty());
  EXPECT_THAT(scene.Find({3, 4, 3, 4}), IsEmpty());
}

TEST(PrefixCache, FindTakesAReferenceOnEachBlock) {
  Scene scene;
  const std::vector<BlockId> blocks = scene.KeepIdle({1, 2, 3, 4});

  const PrefixCache::Match match = scene.cache.Find("salt", Tokens{1, 2, 3, 4});

  EXPECT_THAT(match.blocks, ElementsAreArray(blocks));
  EXPECT_EQ(scene.pool.references(blocks[0]), 2);
  EXPECT_EQ(scene.pool.references(blocks[1]), 2);
  EXPECT_EQ(scene.cache.idle(), 0);
}

TEST(PrefixCache, MatchNamesTheEntryThatTheNextBlockFollows) {
  Scene scene;
  const std::vector<BlockId> blocks = scene.KeepIdle({1, 2});
  EntryId last = scene.cache.Find("salt", Tokens{1, 2}).last;
  EXPECT_EQ(scene.cache.Find("salt", Tokens{7, 8}).last, kNoEntry);

  const BlockId next = scene.Insert(last, {3, 4});

  EXPECT_THAT(scene.Find({1, 2, 3, 4}), ElementsAre(blocks[0], next));
}

TEST(PrefixCache, N01EqualTokensUnderAnotherSaltAreNeverFound) {
  Scene scene({.quota = 16, .hash = [](EntryId, std::span<const TokenId>) { return 0U; }});
  const std::vector<BlockId> ours = scene.KeepIdle({1, 2, 3, 4}, "ours");

  EXPECT_THAT(scene.Find({1, 2, 3, 4}, "theirs"), IsEmpty());
  EXPECT_THAT(scene.Find({1, 2, 3, 4}, ""), IsEmpty());
  EXPECT_THAT(scene.Find({1, 2, 3, 4}, std::string("ours\0", 5)), IsEmpty());
  const std::vector<BlockId> theirs = scene.KeepIdle({1, 2}, "theirs");

  EXPECT_THAT(scene.Find({1, 2, 3, 4}, "theirs"), ElementsAreArray(theirs));
  EXPECT_THAT(scene.Find({1, 2, 3, 4}, "ours"), ElementsAreArray(ours));
}

TEST(PrefixCache, N02ForgedHashCollisionNeverYieldsAnothersBlock) {
  Scene scene({.quota = 16, .hash = [](EntryId, std::span<const TokenId>) { return 42U; }});
  const std::vector<BlockId> one = scene.KeepIdle({1, 2, 3, 4});
  const std::vector<BlockId> other = scene.KeepIdle({5, 6, 3, 4});  // same tokens, other parent

  EXPECT_THAT(scene.Find({1, 2, 3, 4}), ElementsAreArray(one));
  EXPECT_THAT(scene.Find({5, 6, 3, 4}), ElementsAreArray(other));
  EXPECT_THAT(scene.Find({2, 1}), IsEmpty());
  EXPECT_THAT(scene.Find({3, 4}), IsEmpty());
  EXPECT_THAT(scene.Find({1, 2, 1, 2}), ElementsAre(one[0]));
}

TEST(PrefixCache, N02CollidingEntriesLeaveWithoutTakingOthersAlong) {
  const std::vector<Tokens> kept = {{1, 2}, {3, 4}, {5, 6}};
  for (std::size_t gone = 0; gone < kept.size(); ++gone) {
    Scene scene({.quota = 16, .hash = [](EntryId, std::span<const TokenId>) { return 42U; }});
    std::vector<std::vector<BlockId>> blocks;
    for (const Tokens& tokens : kept) blocks.push_back(scene.Keep(tokens));
    scene.Release(blocks[gone]);

    ASSERT_TRUE(scene.cache.Evict());

    for (std::size_t i = 0; i < kept.size(); ++i)
      EXPECT_EQ(scene.Kept(kept[i]), i == gone ? 0U : 1U) << i << " after " << gone << " went";
  }
}

TEST(PrefixCache, InsertReturnsTheEntryOfEqualTokensAndLeavesTheBlockToItsHolder) {
  Scene scene;
  EntryId first = kNoEntry;
  const BlockId kept = scene.Insert(first, {1, 2});
  EntryId second = kNoEntry;

  const BlockId own = scene.Insert(second, {1, 2});

  EXPECT_EQ(second, first);
  EXPECT_EQ(scene.pool.references(kept), 2);
  EXPECT_EQ(scene.pool.references(own), 1);
  EXPECT_EQ(scene.cache.entries(), 1);
  scene.cache.Release(own, 0);
  EXPECT_EQ(scene.pool.references(own), 0);
}

TEST(PrefixCache, InsertsTheSameBlockOnce) {
  Scene scene;
  EntryId entry = kNoEntry;
  const BlockId block = scene.Insert(entry, {1, 2});

  EXPECT_EQ(scene.cache.Insert("salt", kNoEntry, Tokens{1, 2}, block), entry);

  EXPECT_EQ(scene.pool.references(block), 2);
}

TEST(PrefixCache, RefusesABlockWhoseParentWasGivenUp) {
  Scene scene;
  EntryId parent = kNoEntry;
  const BlockId block = scene.Insert(parent, {1, 2});
  scene.cache.Release(block, 0);
  ASSERT_TRUE(scene.cache.Evict());
  const BlockId next = scene.pool.Take().value();

  EXPECT_EQ(scene.cache.Insert("salt", parent, Tokens{3, 4}, next), kNoEntry);

  EXPECT_EQ(scene.pool.references(next), 1);
  EXPECT_EQ(scene.cache.entries(), 0);
  EXPECT_EQ(scene.cache.salts(), 0);
}

TEST(PrefixCache, RefusesABlockWhoseParentsBlockIsKeptForOtherTokens) {
  Scene scene;
  EntryId parent = kNoEntry;
  const BlockId block = scene.Insert(parent, {1, 2});
  scene.cache.Release(block, 0);
  ASSERT_TRUE(scene.cache.Evict());
  EntryId stranger = kNoEntry;
  ASSERT_EQ(scene.Insert(stranger, {5, 6}), block);

  EXPECT_NE(stranger, parent);
  EXPECT_EQ(scene.cache.Insert("salt", parent, Tokens{3, 4}, scene.pool.Take().value()), kNoEntry);
}

TEST(PrefixCache, RefusesABlockThatIsKeptAfterAParentGivenUp) {
  Scene scene;
  EntryId parent = kNoEntry;
  const BlockId first = scene.Insert(parent, {1, 2});
  const BlockId second = scene.Insert(parent, {3, 4});
  scene.cache.Release(first, 0);
  ASSERT_TRUE(scene.cache.Evict());
  EntryId anew = kNoEntry;
  scene.Insert(anew, {1, 2});

  EXPECT_EQ(scene.cache.Insert("salt", anew, Tokens{3, 4}, second), kNoEntry);

  EXPECT_EQ(scene.pool.references(second), 2);
}

TEST(PrefixCache, BlocksAfterOneGivenUpAreNotFoundAndGoInTheirTurn) {
  Scene scene;
  EntryId parent = kNoEntry;
  const BlockId first = scene.Insert(parent, {1, 2});
  const BlockId second = scene.Insert(parent, {3, 4});
  scene.cache.Release(first, 0);
  ASSERT_TRUE(scene.cache.Evict());

  EXPECT_THAT(scene.Find({1, 2, 3, 4}), IsEmpty());
  scene.KeepIdle({1, 2});
  EXPECT_EQ(scene.Kept({1, 2, 3, 4}), 1U) << "found after a parent that is not its own";
  scene.cache.Release(second, 0);

  EXPECT_TRUE(scene.cache.Evict());
  EXPECT_TRUE(scene.cache.Evict());
  EXPECT_EQ(scene.pool.free(), 16);
  EXPECT_EQ(scene.cache.salts(), 0);
}

TEST(PrefixCache, ReleaseOfABlockThatIsNotKeptFreesIt) {
  Scene scene;
  const BlockId block = scene.pool.Take().value();

  scene.cache.Release(block, 0);

  EXPECT_EQ(scene.pool.free(), 16);
  EXPECT_EQ(scene.cache.idle(), 0);
}

TEST(PrefixCache, BlockIsIdleOnceTheCacheAloneHoldsIt) {
  Scene scene;
  const BlockId block = scene.Keep({1, 2})[0];
  scene.pool.AddReference(block);
  EXPECT_EQ(scene.cache.idle(), 0);

  scene.cache.Release(block, 0);
  EXPECT_EQ(scene.cache.idle(), 0);
  EXPECT_FALSE(scene.cache.Evict());
  scene.cache.Release(block, 0);

  EXPECT_EQ(scene.cache.idle(), 1);
  EXPECT_EQ(scene.pool.references(block), 1);
}

TEST(PrefixCache, EvictsTheDeepestBlockOfASequenceFirst) {
  for (std::size_t evicted = 0; evicted <= 3; ++evicted) {
    Scene scene;
    scene.KeepIdle({1, 2, 3, 4, 5, 6});

    for (std::size_t i = 0; i < evicted; ++i) ASSERT_TRUE(scene.cache.Evict());

    EXPECT_EQ(scene.Kept({1, 2, 3, 4, 5, 6}), 3 - evicted);
  }
}

TEST(PrefixCache, EvictsTheLeastRecentlyUsedBlockOfAnySalt) {
  Scene scene;
  scene.KeepIdle({1, 2}, "a");
  scene.KeepIdle({1, 2}, "b");
  scene.KeepIdle({3, 4}, "a");

  ASSERT_TRUE(scene.cache.Evict());
  ASSERT_TRUE(scene.cache.Evict());

  EXPECT_EQ(scene.Kept({1, 2}, "a"), 0U);
  EXPECT_EQ(scene.Kept({1, 2}, "b"), 0U);
  EXPECT_EQ(scene.Kept({3, 4}, "a"), 1U);
}

TEST(PrefixCache, BlockFoundAgainIsTheMostRecentlyUsed) {
  Scene scene;
  scene.KeepIdle({1, 2});
  scene.KeepIdle({3, 4});
  scene.Find({1, 2});

  ASSERT_TRUE(scene.cache.Evict());

  EXPECT_EQ(scene.Kept({1, 2}), 1U);
  EXPECT_EQ(scene.Kept({3, 4}), 0U);
}

TEST(PrefixCache, BlockFoundAgainIsNotEvictedWhileHeld) {
  Scene scene;
  scene.KeepIdle({1, 2});
  const std::vector<BlockId> held = scene.cache.Find("salt", Tokens{1, 2}).blocks;

  EXPECT_FALSE(scene.cache.Evict());

  scene.Release(held);
  EXPECT_TRUE(scene.cache.Evict());
  EXPECT_FALSE(scene.cache.Evict());
}

TEST(PrefixCache, EvictsOnlyBlocksWhoseFenceWasPassed) {
  Scene scene;
  const std::vector<BlockId> early = scene.Keep({1, 2});
  const std::vector<BlockId> late = scene.Keep({3, 4});
  scene.Release(late, 8);
  scene.Release(early, 6);
  EXPECT_EQ(scene.cache.idle(), 2);
  EXPECT_EQ(scene.cache.evictable(), 0);
  EXPECT_FALSE(scene.cache.Evict());

  scene.cache.Complete(6);

  EXPECT_EQ(scene.cache.evictable(), 1);
  EXPECT_TRUE(scene.cache.Evict());
  EXPECT_FALSE(scene.cache.Evict());
  EXPECT_EQ(scene.pool.free(), 15);
  EXPECT_EQ(scene.Kept({3, 4}), 1U);
}

TEST(PrefixCache, BlockFoundBehindItsFenceWaitsForItAgainWhenReleased) {
  Scene scene;
  scene.Release(scene.Keep({1, 2}), 8);
  const std::vector<BlockId> held = scene.cache.Find("salt", Tokens{1, 2}).blocks;
  EXPECT_EQ(held.size(), 1U);

  scene.Release(held, 5);
  scene.cache.Complete(5);
  EXPECT_EQ(scene.cache.evictable(), 0);
  scene.cache.Complete(8);

  EXPECT_EQ(scene.cache.evictable(), 1);
}

TEST(PrefixCache, BlockEvictedByTheQuotaIsHandedOutOnlyAfterItsFence) {
  Scene scene({.quota = 1});
  scene.Release(scene.Keep({1, 2, 3, 4}), 8);
  EXPECT_EQ(scene.cache.idle(), 1);
  EXPECT_EQ(scene.pool.free(), 14) << "given up, but the device may still write it";

  scene.cache.Complete(7);
  EXPECT_EQ(scene.pool.free(), 14);
  scene.cache.Complete(8);

  EXPECT_EQ(scene.pool.free(), 15);
}

TEST(PrefixCache, N03IdleBlocksOfOneSaltNeverExceedTheQuota) {
  Scene scene({.quota = 3});
  for (TokenId token = 0; token < 50; ++token) {
    const std::vector<BlockId> blocks = scene.Keep({token, 1, 2, 3, 4, 5, 6, 7, 8, 9}, "flood");
    for (std::size_t i = blocks.size(); i > 0; --i) {
      scene.cache.Release(blocks[i - 1], 0);
      ASSERT_LE(scene.cache.idle(), 3);
    }
  }

  EXPECT_EQ(scene.Kept({49, 1, 2, 3, 4, 5, 6, 7}, "flood"), 3U) << "gave up others than the oldest";
}

TEST(PrefixCache, N03OneSaltsFloodLeavesTheBlocksOfAnother) {
  Scene scene({.quota = 3});
  scene.KeepIdle({1, 2, 3, 4, 5, 6}, "quiet");

  for (TokenId token = 0; token < 50; ++token) scene.KeepIdle({token, 1, 2, 3}, "flood");

  EXPECT_EQ(scene.cache.idle(), 6);
  EXPECT_EQ(scene.Kept({1, 2, 3, 4, 5, 6}, "quiet"), 3U);
}

TEST(PrefixCache, N03BlocksThatSequencesHoldDoNotCountForTheQuota) {
  Scene scene({.quota = 1});
  scene.KeepIdle({1, 2});

  const std::vector<BlockId> held = scene.Keep({3, 4, 5, 6, 7, 8});

  EXPECT_EQ(scene.cache.entries(), 4);
  EXPECT_EQ(scene.cache.idle(), 1);
  EXPECT_EQ(scene.Kept({1, 2}), 1U);
  EXPECT_EQ(scene.Kept({3, 4, 5, 6, 7, 8}), 3U);
}

TEST(PrefixCache, ForgetsASaltWithItsLastEntry) {
  Scene scene;
  scene.KeepIdle({1, 2, 3, 4}, "a");
  scene.KeepIdle({1, 2}, "b");
  EXPECT_EQ(scene.cache.salts(), 2);
  EXPECT_EQ(scene.cache.entries(), 3);

  scene.cache.Evict();
  EXPECT_EQ(scene.cache.salts(), 2);
  scene.cache.Evict();
  EXPECT_EQ(scene.cache.salts(), 1);
  scene.cache.Evict();

  EXPECT_EQ(scene.cache.salts(), 0);
  EXPECT_EQ(scene.cache.entries(), 0);
  EXPECT_EQ(scene.pool.free(), 16);
}

TEST(PrefixCache, LookingUpAnUnknownSaltDoesNotRememberIt) {
  Scene scene;

  EXPECT_THAT(scene.Find({1, 2}, "unknown"), IsEmpty());

  EXPECT_EQ(scene.cache.salts(), 0);
}

TEST(PrefixCache, OwnsACopyOfTheTokens) {
  Scene scene;
  Tokens tokens = {1, 2};
  const BlockId block = scene.pool.Take().value();
  scene.cache.Insert("salt", kNoEntry, tokens, block);

  tokens = {7, 8};

  EXPECT_THAT(scene.Find({1, 2}), ElementsAre(block));
  EXPECT_THAT(scene.Find({7, 8}), IsEmpty());
}

}  // namespace
}  // namespace codegen::kv
