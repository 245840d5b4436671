// SPDX-License-Identifier: Apache-2.0
#include "kv/block_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <vector>

namespace codegen::kv {
namespace {

std::vector<BlockId> InOrder(const BlockLinks& links, const BlockList& list) {
  std::vector<BlockId> blocks;
  for (BlockId block = list.first(); block != kNoBlock;
       block = links[static_cast<std::size_t>(block)].next)
    blocks.push_back(block);
  return blocks;
}

TEST(BlockList, IsEmptyAtFirstAndAfterTheLastBlockLeft) {
  BlockLinks links(2);
  BlockList list;
  EXPECT_EQ(list.first(), kNoBlock);

  list.PushBack(links, 1);
  list.Remove(links, 1);

  EXPECT_EQ(list.first(), kNoBlock);
  EXPECT_EQ(list.size(), 0);
}

TEST(BlockList, KeepsTheOrderOfEnteringWhicheverBlocksLeave) {
  constexpr std::size_t blocks = 7;
  const unsigned seed = 20260801;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  BlockLinks links(blocks);
  BlockList lists[2];
  std::vector<BlockId> expected[2];

  for (int round = 0; round < 2000; ++round) {
    const auto block = static_cast<BlockId>(random() % blocks);
    bool left = false;
    for (int i = 0; i < 2; ++i) {
      if (std::ranges::find(expected[i], block) == expected[i].end()) continue;
      lists[i].Remove(links, block);
      std::erase(expected[i], block);
      left = true;
    }
    if (!left) {
      const std::size_t to = random() % 2;
      lists[to].PushBack(links, block);
      expected[to].push_back(block);
    }

    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(InOrder(links, lists[i]), expected[i]);
      ASSERT_EQ(lists[i].size(), static_cast<int>(expected[i].size()));
    }
  }
}

}  // namespace
}  // namespace codegen::kv
