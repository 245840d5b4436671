// SPDX-License-Identifier: Apache-2.0
#include "kv/paged_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

namespace codegen::kv {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Tokens = std::vector<TokenId>;

PagedMemoryOptions OfBlocks(int blocks, int quota) {
  return {.blocks = blocks, .cache = {.block_tokens = 2, .quota = quota}};
}

// Makes room for `tokens`, computes and keeps them.
BlockTable Serve(PagedMemory& memory, const Tokens& tokens, const std::string& salt = "salt") {
  BlockTable table;
  memory.Adopt(salt, tokens, table);
  EXPECT_TRUE(memory.Grow(static_cast<int>(tokens.size()), table));
  memory.Keep(salt, tokens, table);
  return table;
}

void ServeAndRelease(PagedMemory& memory, const Tokens& tokens, StepId fence) {
  BlockTable table = Serve(memory, tokens);
  memory.Release(table, fence);
}

// How many of `tokens` Adopt finds.
int Adoptable(PagedMemory& memory, const Tokens& tokens, const std::string& salt = "salt") {
  BlockTable table;
  const int adopted = memory.Adopt(salt, tokens, table);
  memory.Release(table, 0);
  return adopted;
}

TEST(PagedMemory, RoundsBlocksUp) {
  PagedMemory memory(OfBlocks(4, 4));

  EXPECT_EQ(memory.BlocksFor(0), 0);
  EXPECT_EQ(memory.BlocksFor(1), 1);
  EXPECT_EQ(memory.BlocksFor(2), 1);
  EXPECT_EQ(memory.BlocksFor(3), 2);
}

TEST(PagedMemory, GrowTakesNoMoreBlocksThanTokensNeed) {
  PagedMemory memory(OfBlocks(4, 4));
  BlockTable table;

  EXPECT_TRUE(memory.Grow(3, table));
  EXPECT_THAT(table.blocks, SizeIs(2));
  EXPECT_TRUE(memory.Grow(4, table));
  EXPECT_THAT(table.blocks, SizeIs(2));
  EXPECT_TRUE(memory.Grow(1, table));
  EXPECT_THAT(table.blocks, SizeIs(2)) << "never gives up blocks";

  EXPECT_EQ(memory.used(), 2);
  EXPECT_EQ(memory.available(), 2);
}

TEST(PagedMemory, GrowThatFailsChangesNothing) {
  PagedMemory memory(OfBlocks(4, 4));
  ServeAndRelease(memory, {1, 2}, 0);
  BlockTable table;
  ASSERT_TRUE(memory.Grow(2, table));
  const std::vector<BlockId> before = table.blocks;

  EXPECT_FALSE(memory.Grow(10, table));

  EXPECT_EQ(table.blocks, before);
  EXPECT_EQ(memory.idle(), 1) << "gave up an idle block in vain";
  EXPECT_EQ(memory.available(), 3);
}

TEST(PagedMemory, GrowGivesUpIdleBlocksOnlyWhenNoneIsFree) {
  PagedMemory memory(OfBlocks(4, 4));
  ServeAndRelease(memory, {1, 2, 3, 4}, 0);
  BlockTable table;

  ASSERT_TRUE(memory.Grow(4, table));
  EXPECT_EQ(memory.idle(), 2);
  ASSERT_TRUE(memory.Grow(6, table));

  EXPECT_EQ(memory.idle(), 1);
  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4}), 2);
}

TEST(PagedMemory, AvailableCountsNoFreeBlockBehindAFence) {
  PagedMemory memory(OfBlocks(4, 0));
  ServeAndRelease(memory, {1, 2, 3, 4, 5, 6}, 7);
  BlockTable table;
  EXPECT_EQ(memory.available(), 1);
  EXPECT_FALSE(memory.Grow(4, table));

  memory.Complete(7);

  EXPECT_EQ(memory.available(), 4);
  EXPECT_TRUE(memory.Grow(8, table));
}

TEST(PagedMemory, AvailableCountsNoIdleBlockBehindAFence) {
  PagedMemory memory(OfBlocks(4, 4));
  ServeAndRelease(memory, {1, 2, 3, 4, 5, 6}, 7);
  BlockTable table;
  EXPECT_EQ(memory.available(), 1);
  EXPECT_FALSE(memory.Grow(4, table));
  EXPECT_EQ(memory.idle(), 3) << "gave up idle blocks in vain";

  memory.Complete(7);

  EXPECT_EQ(memory.available(), 4);
  EXPECT_TRUE(memory.Grow(8, table));
}

TEST(PagedMemory, GrowPassesOverIdleBlocksBehindALaterFence) {
  PagedMemory memory(OfBlocks(2, 4));
  BlockTable late = Serve(memory, {1, 2});
  BlockTable early = Serve(memory, {3, 4});
  const std::vector<BlockId> won = early.blocks;
  memory.Release(late, 9);
  memory.Release(early, 1);
  memory.Complete(1);
  BlockTable table;

  EXPECT_EQ(memory.available(), 1);
  EXPECT_TRUE(memory.Grow(2, table));

  EXPECT_EQ(table.blocks, won);
  EXPECT_EQ(Adoptable(memory, {1, 2}), 2);
}

TEST(PagedMemory, AdoptsWhatAnotherSequenceKeptAndStillHolds) {
  PagedMemory memory(OfBlocks(8, 8));
  const BlockTable first = Serve(memory, {1, 2, 3, 4, 5});
  BlockTable second;

  EXPECT_EQ(memory.Adopt("salt", Tokens{1, 2, 3, 4, 5, 6}, second), 4);

  EXPECT_THAT(second.blocks, ElementsAre(first.blocks[0], first.blocks[1]));
  EXPECT_EQ(memory.pool().references(first.blocks[0]), 3);
}

TEST(PagedMemory, KeepsOnlyFullBlocks) {
  PagedMemory memory(OfBlocks(8, 8));
  BlockTable table;
  ASSERT_TRUE(memory.Grow(4, table));

  memory.Keep("salt", Tokens{1, 2, 3}, table);
  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4}), 2);
  memory.Keep("salt", Tokens{1, 2, 3, 4}, table);

  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4}), 4);
}

TEST(PagedMemory, KeepsWhatFollowsAnAdoptedPrefix) {
  PagedMemory memory(OfBlocks(8, 8));
  ServeAndRelease(memory, {1, 2}, 0);

  ServeAndRelease(memory, {1, 2, 3, 4}, 0);

  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4}), 4);
  EXPECT_EQ(memory.idle(), 2);
}

TEST(PagedMemory, N01EqualTokensUnderAnotherSaltAreNotAdopted) {
  PagedMemory memory(OfBlocks(8, 8));
  BlockTable table = Serve(memory, {1, 2, 3, 4}, "ours");

  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4}, "theirs"), 0);
  memory.Release(table, 0);
  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4}, "theirs"), 0);

  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4}, "ours"), 4);
}

TEST(PagedMemory, N03ReleaseLeavesNoMoreIdleBlocksThanTheQuota) {
  PagedMemory memory(OfBlocks(8, 2));

  ServeAndRelease(memory, {1, 2, 3, 4, 5, 6, 7, 8}, 0);

  EXPECT_EQ(memory.idle(), 2);
  EXPECT_EQ(memory.available(), 8);
  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4, 5, 6, 7, 8}), 4) << "the first blocks are worth most";
}

TEST(PagedMemory, N03QuotaOfZeroKeepsNothing) {
  PagedMemory memory(OfBlocks(8, 0));
  BlockTable table = Serve(memory, {1, 2, 3, 4});
  EXPECT_EQ(table.kept, 0);
  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4}), 0);

  memory.Release(table, 0);

  EXPECT_EQ(memory.idle(), 0);
  EXPECT_EQ(memory.cache().salts(), 0);
  EXPECT_EQ(memory.pool().free(), 8);
}

TEST(PagedMemory, N04BlockWonFromTheCacheHasANewGeneration) {
  PagedMemory memory(OfBlocks(1, 1));
  BlockTable table = Serve(memory, {1, 2});
  const BlockId block = table.blocks[0];
  const auto generation = memory.pool().generation(block);
  memory.Release(table, 0);
  EXPECT_EQ(Adoptable(memory, {1, 2}), 2);
  EXPECT_EQ(memory.pool().generation(block), generation) << "found again, not handed out";

  ASSERT_TRUE(memory.Grow(2, table));

  EXPECT_EQ(table.blocks[0], block);
  EXPECT_NE(memory.pool().generation(block), generation);
}

TEST(PagedMemory, ReleaseEmptiesTheTable) {
  PagedMemory memory(OfBlocks(8, 8));
  BlockTable table = Serve(memory, {1, 2, 3, 4});

  memory.Release(table, 0);

  EXPECT_THAT(table.blocks, IsEmpty());
  EXPECT_EQ(table.kept, 0);
  EXPECT_EQ(table.last_kept, kNoEntry);
}

TEST(PagedMemory, ReleaseMakesTheDeepestBlockTheFirstToGo) {
  PagedMemory memory(OfBlocks(3, 8));
  ServeAndRelease(memory, {1, 2, 3, 4, 5, 6}, 0);
  BlockTable table;

  ASSERT_TRUE(memory.Grow(2, table));
  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4, 5, 6}), 4);
  ASSERT_TRUE(memory.Grow(4, table));

  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4, 5, 6}), 2);
}

TEST(PagedMemory, SharesWholeBlocksOfAnotherSequence) {
  PagedMemory memory(OfBlocks(8, 8));
  BlockTable first = Serve(memory, {1, 2, 3, 4, 5});
  BlockTable second;

  EXPECT_EQ(memory.Share(first, 5, second), 4);

  EXPECT_THAT(second.blocks, ElementsAre(first.blocks[0], first.blocks[1]));
  memory.Release(first, 0);
  EXPECT_EQ(memory.pool().references(second.blocks[0]), 2) << "the sharer's and the cache's";
}

TEST(PagedMemory, SharesBlocksThatNobodyKeeps) {
  PagedMemory memory(OfBlocks(8, 0));
  BlockTable first = Serve(memory, {1, 2, 3, 4});
  BlockTable second;

  EXPECT_EQ(memory.Share(first, 4, second), 4);
  memory.Release(first, 0);
  EXPECT_EQ(memory.used(), 2);
  memory.Release(second, 0);

  EXPECT_EQ(memory.used(), 0);
}

TEST(PagedMemory, SharerOfPartKeepsWhatItGoesOnWith) {
  PagedMemory memory(OfBlocks(8, 8));
  BlockTable first = Serve(memory, {1, 2, 3, 4, 5, 6});
  BlockTable second;
  memory.Share(first, 4, second);
  ASSERT_TRUE(memory.Grow(6, second));

  memory.Keep("salt", Tokens{1, 2, 3, 4, 7, 8}, second);

  EXPECT_EQ(second.kept, 3);
  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4, 7, 8}), 6);
  EXPECT_EQ(Adoptable(memory, {1, 2, 3, 4, 5, 6}), 6);
}

// Two sequences of the same two blocks, computed at the same time: the second keeps its own.
struct Twins {
  Twins() {
    EXPECT_TRUE(memory.Grow(4, first));
    EXPECT_TRUE(memory.Grow(4, second));
    memory.Keep("salt", tokens, first);
    memory.Keep("salt", tokens, second);
  }

  // Lets the kept blocks of the first go idle and then go altogether.
  void EvictTheFirst() {
    memory.Release(first, 0);
    BlockTable all;
    ASSERT_TRUE(memory.Grow(2 * memory.available(), all));
    memory.Release(all, 0);
    ASSERT_EQ(memory.cache().entries(), 0);
  }

  PagedMemory memory{OfBlocks(8, 8)};
  Tokens tokens = {1, 2, 3, 4};
  BlockTable first, second;
};

TEST(PagedMemory, BlockOfTokensThatAreKeptAlreadyStaysPrivate) {
  Twins twins;

  EXPECT_EQ(twins.second.kept, 2);
  EXPECT_EQ(twins.memory.pool().references(twins.first.blocks[0]), 2);
  EXPECT_EQ(twins.memory.pool().references(twins.second.blocks[0]), 1);
  twins.memory.Release(twins.second, 0);
  EXPECT_EQ(twins.memory.idle(), 0);
}

TEST(PagedMemory, KeepGoesOnFromTheEntryOfEqualTokens) {
  Twins twins;
  ASSERT_TRUE(twins.memory.Grow(6, twins.second));

  twins.memory.Keep("salt", Tokens{1, 2, 3, 4, 5, 6}, twins.second);

  BlockTable third;
  EXPECT_EQ(twins.memory.Adopt("salt", Tokens{1, 2, 3, 4, 5, 6}, third), 6);
  EXPECT_THAT(third.blocks,
              ElementsAre(twins.first.blocks[0], twins.first.blocks[1], twins.second.blocks[2]));
}

TEST(PagedMemory, KeepEntersNothingAfterAnEntryGivenUp) {
  Twins twins;
  twins.EvictTheFirst();
  ASSERT_TRUE(twins.memory.Grow(6, twins.second));

  twins.memory.Keep("salt", Tokens{1, 2, 3, 4, 5, 6}, twins.second);

  EXPECT_EQ(twins.second.kept, 2);
  EXPECT_EQ(twins.memory.cache().entries(), 0);
  EXPECT_EQ(Adoptable(twins.memory, {1, 2, 3, 4, 5, 6}), 0);
  twins.memory.Release(twins.second, 0);
  EXPECT_EQ(twins.memory.pool().free(), 8);
}

TEST(PagedMemory, WhatFollowedAnEntryGivenUpIsWonBackWhenReleased) {
  Twins twins;
  ASSERT_TRUE(twins.memory.Grow(6, twins.second));
  twins.memory.Keep("salt", Tokens{1, 2, 3, 4, 5, 6}, twins.second);
  twins.memory.Release(twins.first, 0);
  BlockTable all;
  ASSERT_TRUE(twins.memory.Grow(2 * twins.memory.available(), all));
  ASSERT_EQ(twins.memory.cache().entries(), 1);

  EXPECT_EQ(Adoptable(twins.memory, {1, 2, 3, 4, 5, 6}), 0);
  twins.memory.Release(twins.second, 0);
  EXPECT_EQ(twins.memory.idle(), 1);
  EXPECT_TRUE(twins.memory.Grow(2 * twins.memory.size(), all));

  EXPECT_EQ(twins.memory.cache().salts(), 0);
}

TEST(PagedMemory, SharerOfAPrivateBlockKeepsItOnceItsEqualIsGone) {
  Twins twins;
  twins.EvictTheFirst();
  BlockTable third;
  twins.memory.Share(twins.second, 2, third);

  twins.memory.Keep("salt", Tokens{1, 2}, third);

  EXPECT_EQ(third.kept, 1);
  EXPECT_EQ(Adoptable(twins.memory, {1, 2, 3, 4}), 2);
}

TEST(PagedMemory, StaysBoundedOverAMillionSequences) {
  constexpr int blocks = 64;
  PagedMemory memory(OfBlocks(blocks, 8));
  BlockTable table;

  for (int i = 0; i < 1'000'000; ++i) {
    const std::string salt = std::to_string(i);
    const Tokens tokens = {i, i, 7, i};
    memory.Adopt(salt, tokens, table);
    ASSERT_TRUE(memory.Grow(5, table));
    memory.Keep(salt, tokens, table);
    memory.Release(table, i + 1);
    memory.Complete(i);
    ASSERT_LE(memory.cache().salts(), blocks);
    ASSERT_LE(memory.cache().entries(), blocks);
  }

  memory.Complete(1'000'000);
  EXPECT_EQ(memory.available(), blocks);
}

}  // namespace
}  // namespace codegen::kv
