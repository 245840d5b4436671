// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/row_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

namespace codegen::cuda {
namespace {

using testing::ElementsAre;

using Group = std::array<std::int32_t, 4>;

Group Numbers(const RowGroup& group) {
  return {group.row, group.rows, group.position, group.first_page};
}

// Sequences of 1, 0, 70, 8 and 9 rows that start at 5, 0, 37, 16 and 0.
struct FiveSequences {
  std::vector<std::int32_t> first_row = {0, 1, 1, 71, 79, 88};
  std::vector<std::int32_t> first_page = {0, 1, 1, 8, 10, 11};
  std::vector<std::int32_t> pages = {9, 4, 2, 7, 1, 0, 8, 3, 6, 5, 10};
  std::vector<std::int32_t> positions;

  FiveSequences() {
    const int starts[] = {5, 0, 37, 16, 0};
    for (std::size_t s = 0; s < 5; ++s)
      for (std::int32_t i = 0; i < first_row[s + 1] - first_row[s]; ++i)
        positions.push_back(starts[s] + i);
  }

  backend::Rows rows() const {
    return {
        .positions = positions, .first_row = first_row, .first_page = first_page, .pages = pages};
  }
};

TEST(RowGroup, FewRowsOfASequenceDecodeAndManyAreCutIntoPrompts) {
  const FiveSequences step;
  std::vector<Group> decodes;
  std::vector<Group> prompts;

  ForEachRowGroup(
      step.rows(), [&](const RowGroup& group) { decodes.push_back(Numbers(group)); },
      [&](const RowGroup& group) { prompts.push_back(Numbers(group)); });

  EXPECT_THAT(decodes, ElementsAre(Group{0, 1, 5, 0}, Group{71, 8, 16, 8}));
  EXPECT_THAT(prompts, ElementsAre(Group{1, 64, 37, 1}, Group{65, 6, 101, 1}, Group{79, 9, 0, 10}));
}

TEST(RowGroup, TheSlotOfARowIsItsPageAndThePlaceInIt) {
  const FiveSequences step;
  const RowGroup prompt{1, 64, 37, 1};  // of pages 4, 2, 7, 1, ...

  EXPECT_EQ(CacheSlot(prompt, step.pages.data(), 1), 7 * 16 + 5);
  EXPECT_EQ(CacheSlot(prompt, step.pages.data(), 11), 7 * 16 + 15);
  EXPECT_EQ(CacheSlot(prompt, step.pages.data(), 12), 1 * 16);
}

}  // namespace
}  // namespace codegen::cuda
