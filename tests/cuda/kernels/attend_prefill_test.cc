// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/attend_prefill.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cuda/kernels/attention_step.h"

namespace codegen::cuda {
namespace {

// All rows of a step, those of sequences with few rows too.
std::vector<RowGroup> PromptGroups(const AttentionStep& step) {
  std::vector<RowGroup> groups;
  const auto add = [&](const RowGroup& group) { groups.push_back(group); };
  ForEachRowGroup(step.view(), add, add);
  return groups;
}

std::vector<float> Prefilled(const AttentionStep& step) {
  return step.Result(PromptGroups(step), [](const AttendArgs& args) {
    EXPECT_EQ(AttendPrefill(args, nullptr), cudaSuccess);
  });
}

void ExpectPrefilled(const AttentionStep& step) {
  const std::vector<float> result = Prefilled(step);
  for (const RowGroup& group : PromptGroups(step))
    ASSERT_NO_FATAL_FAILURE(step.ExpectRight(result, group));
}

TEST(AttendPrefill, TakesChunksAtAnyPositionForEveryWidth) {
  for (const int dim : {8, 64, 80, 96, 128, 200, 256}) {
    SCOPED_TRACE(testing::Message() << "dim " << dim);
    const AttentionStep step({.heads = 2, .dim = dim}, {{.seed = 1, .position = 0, .rows = 33},
                                                        {.seed = 2, .position = 37, .rows = 9},
                                                        {.seed = 3, .position = 14, .rows = 20}});
    UnderEverySchedule([&] { ExpectPrefilled(step); });
  }
}

TEST(AttendPrefill, TakesSequencesOfEveryLength) {
  const AttentionStep step({.heads = 1, .dim = 64}, {{.seed = 1, .position = 0, .rows = 9},
                                                     {.seed = 2, .position = 0, .rows = 70},
                                                     {.seed = 3, .position = 37, .rows = 33},
                                                     {.seed = 4, .position = 37, .rows = 70},
                                                     {.seed = 5, .position = 0, .rows = 15},
                                                     {.seed = 6, .position = 0, .rows = 16},
                                                     {.seed = 7, .position = 0, .rows = 17},
                                                     {.seed = 8, .position = 0, .rows = 100},
                                                     {.seed = 9, .position = 0, .rows = 1},
                                                     {.seed = 10, .position = 200, .rows = 10},
                                                     {.seed = 11, .position = 14, .rows = 64}});
  UnderEverySchedule([&] { ExpectPrefilled(step); });
}

TEST(AttendPrefill, TakesScoresOfAnySize) {
  for (const float magnitude : {0.0F, 1e-20F, 30.0F, 1000.0F}) {
    SCOPED_TRACE(magnitude);
    simt::Reset();
    ExpectPrefilled(
        AttentionStep({.heads = 2, .dim = 80},
                      {{.seed = 1, .position = 50, .rows = 40, .magnitude = magnitude}}));
  }
}

// The same rows, bit for bit, in whatever groups and beside whatever sequences.
TEST(AttendPrefill, ARowDependsOnItsHistoryOnly) {
  const StepShape shape{.heads = 2, .dim = 80};
  UnderEverySchedule([&] {
    const AttentionStep whole(shape, {{.seed = 1, .position = 0, .rows = 130}});
    const std::vector<float> expected = Prefilled(whole);
    int position = 0;
    for (const int rows : {5, 11, 1, 33, 64, 16}) {
      const AttentionStep chunk(shape, {{.seed = 2, .position = 3, .rows = 12, .magnitude = 9},
                                        {.seed = 1, .position = position, .rows = rows},
                                        {.seed = 3, .position = 0, .rows = 20, .nan_at = 0}});
      const std::vector<float> result = Prefilled(chunk);
      for (int i = 0; i < rows; ++i)
        ASSERT_EQ(RowOf(result, shape, 12 + i), RowOf(expected, shape, position + i))
            << "row " << position + i;
      position += rows;
    }
    ASSERT_EQ(position, whole.rows());
  });
}

TEST(AttendPrefill, ANanInTheHistoryIsSeenByThoseAfterItOnly) {
  const StepShape shape{.heads = 1, .dim = 64};
  simt::Reset();
  const std::vector<float> result =
      Prefilled(AttentionStep(shape, {{.seed = 1, .position = 0, .rows = 80, .nan_at = 20}}));

  for (int row = 0; row < 80; ++row)
    EXPECT_EQ(std::isnan(RowOf(result, shape, row)[5]), row >= 20) << "row " << row;
}

TEST(AttendPrefill, DoesNothingWithoutGroups) {
  const AttentionStep step({.heads = 2, .dim = 64}, {{.seed = 1, .position = 0, .rows = 9}});
  UnderEverySchedule([&] {
    const std::vector<float> result = step.Result(
        {}, [](const AttendArgs& args) { EXPECT_EQ(AttendPrefill(args, nullptr), cudaSuccess); });
    for (const float element : result) ASSERT_TRUE(std::isnan(element));
  });
}

TEST(AttendPrefill, RefusesHeadsThatItHasNoTileFor) {
  for (const int dim : {0, 4, 60, 264})
    EXPECT_EQ(AttendPrefill({.group_capacity = 1, .heads = 1, .dim = dim}, nullptr),
              cudaErrorInvalidValue);
}

}  // namespace
}  // namespace codegen::cuda
