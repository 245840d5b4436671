// SPDX-License-Identifier: Apache-2.0
#include "kv/block_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <set>
#include <utility>

namespace codegen::kv {
namespace {

TEST(BlockPool, HandsOutEachBlockOnceWithOneReference) {
  BlockPool pool(3);
  std::set<BlockId> taken;

  for (int left = 2; left >= 0; --left) {
    const std::optional<BlockId> block = pool.Take();
    ASSERT_TRUE(block.has_value());
    taken.insert(*block);
    EXPECT_EQ(pool.references(*block), 1);
    EXPECT_EQ(pool.free(), left);
  }

  EXPECT_EQ(taken, (std::set<BlockId>{0, 1, 2}));
  EXPECT_EQ(pool.Take(), std::nullopt);
}

TEST(BlockPool, HasNothingToHandOutWithoutBlocks) {
  BlockPool pool(0);

  EXPECT_EQ(pool.size(), 0);
  EXPECT_EQ(pool.Take(), std::nullopt);
}

TEST(BlockPool, FreesABlockWhenTheLastReferenceGoes) {
  BlockPool pool(1);
  const BlockId block = pool.Take().value();
  pool.AddReference(block);

  EXPECT_FALSE(pool.Release(block, 0));
  EXPECT_EQ(pool.Take(), std::nullopt);
  EXPECT_TRUE(pool.Release(block, 0));

  EXPECT_EQ(pool.Take(), block);
}

TEST(BlockPool, HandsOutABlockOnlyAfterItsFence) {
  BlockPool pool(1);
  const BlockId block = pool.Take().value();

  pool.Release(block, 5);
  EXPECT_EQ(pool.Take(), std::nullopt);
  pool.Complete(4);
  EXPECT_EQ(pool.Take(), std::nullopt);
  EXPECT_EQ(pool.free(), 0);
  pool.Complete(5);

  EXPECT_EQ(pool.free(), 1);
  EXPECT_EQ(pool.Take(), block);
}

TEST(BlockPool, HandsOutABlockAtOnceWhenItsFenceWasPassedBefore) {
  BlockPool pool(1);
  pool.Complete(5);
  const BlockId block = pool.Take().value();

  pool.Release(block, 5);

  EXPECT_EQ(pool.Take(), block);
}

TEST(BlockPool, FreesBlocksWhoseFencesDescend) {
  BlockPool pool(2);
  const BlockId late = pool.Take().value();
  const BlockId early = pool.Take().value();
  pool.Release(late, 9);
  pool.Release(early, 3);

  pool.Complete(3);

  EXPECT_EQ(pool.Take(), early);
  EXPECT_EQ(pool.Take(), std::nullopt);
}

TEST(BlockPool, WaitsForTheLatestFenceOfAllHolders) {
  BlockPool pool(1);
  const BlockId block = pool.Take().value();
  pool.AddReference(block);
  pool.Release(block, 7);
  pool.Release(block, 2);

  pool.Complete(2);
  EXPECT_FALSE(pool.passed(block));
  EXPECT_EQ(pool.Take(), std::nullopt);
  pool.Complete(7);

  EXPECT_TRUE(pool.passed(block));
  EXPECT_EQ(pool.Take(), block);
}

TEST(BlockPool, N04BlockHandedOutAgainHasANewGeneration) {
  BlockPool pool(2);
  std::set<std::pair<BlockId, std::int64_t>> seen;

  for (int i = 0; i < 100; ++i) {
    const BlockId block = pool.Take().value();
    EXPECT_TRUE(seen.emplace(block, pool.generation(block)).second);
    pool.AddReference(block);
    pool.Release(block, i);
    EXPECT_TRUE(seen.contains({block, pool.generation(block)})) << "changed while held";
    pool.Release(block, i);
    pool.Complete(i);
  }
}

}  // namespace
}  // namespace codegen::kv
