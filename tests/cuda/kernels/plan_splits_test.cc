// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/plan_splits.cuh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "cuda/kernels/decode.h"

namespace codegen::cuda {
namespace {

// A group that ends with `length` positions.
RowGroup GroupOf(int length, int rows) {
  return {.row = 0, .rows = rows, .position = length - rows, .first_page = 0};
}

void ExpectPlanned(const std::vector<RowGroup>& groups, int heads) {
  const DecodeMemory memory(groups, heads, 8);
  const DeviceArray<RowGroup> list(groups);
  const DeviceArray<std::int32_t> count({static_cast<std::int32_t>(groups.size())});

  ASSERT_EQ(PlanSplits({list.data(), count.data(), memory.plan(), heads}, nullptr), cudaSuccess);

  const std::vector<Split> splits = memory.Splits();
  ASSERT_EQ(memory.Count(), static_cast<std::int32_t>(splits.size()));
  EXPECT_THAT(memory.Ready(), testing::Each(0));
  auto split = splits.begin();
  int slot = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const int length = groups[g].position + groups[g].rows;
    const int expected = length / 256 + (length % 256 == 0 ? 0 : 1);
    for (int i = 0; i < expected; ++i, ++split) {
      ASSERT_EQ(split->group, static_cast<std::int32_t>(g));
      ASSERT_EQ(split->index, i);
      ASSERT_EQ(split->splits, expected);
      if (expected > 1) {
        ASSERT_EQ(split->slot, slot);
      }
    }
    if (expected > 1) slot += expected * groups[g].rows;
  }
  EXPECT_EQ(split, splits.end());
}

TEST(PlanSplits, CutsEveryGroupAtMultiplesOf256) {
  UnderEverySchedule([] {
    ExpectPlanned({GroupOf(1, 1), GroupOf(255, 3), GroupOf(256, 8), GroupOf(257, 8),
                   GroupOf(512, 1), GroupOf(513, 2), GroupOf(2048, 4), GroupOf(8, 8)},
                  3);
  });
}

TEST(PlanSplits, TakesMoreGroupsThanItHasThreads) {
  std::mt19937 random(1);
  for (const int count : {0, 1, 31, 32, 33, 255, 256, 257, 600}) {
    SCOPED_TRACE(count);
    std::vector<RowGroup> groups;
    for (int i = 0; i < count; ++i)
      groups.push_back(
          GroupOf(8 + static_cast<int>(random() % 1200), 1 + static_cast<int>(random() % 8)));
    UnderEverySchedule([&] { ExpectPlanned(groups, 2); });
  }
}

}  // namespace
}  // namespace codegen::cuda
