// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch_policy.h"

#include <gtest/gtest.h>

#include <chrono>

namespace codegen::runtime {
namespace {

using std::chrono::microseconds;

constexpr Time kStart{std::chrono::hours(1)};
constexpr int kMaxBatch = 8;

int StartsAfter(const BatchPolicy& policy, Queue queue, Time::duration wait) {
  queue.oldest = kStart;
  return MayStart(policy, kMaxBatch, queue, kStart + wait);
}

TEST(BatchPolicy, WithoutAWindowStartsWhatWaits) {
  EXPECT_EQ(StartsAfter({}, {.waiting = 3}, {}), 3);
}

TEST(BatchPolicy, StartsNothingIfNothingWaits) {
  EXPECT_EQ(MayStart({}, kMaxBatch, {.oldest = Time::max()}, kStart), 0);
  EXPECT_EQ(MayStart({.window = microseconds(9)}, kMaxBatch, {.oldest = Time::max()}, kStart), 0);
}

TEST(BatchPolicy, StartsNoMoreThanABatch) {
  EXPECT_EQ(StartsAfter({}, {.waiting = 20}, {}), kMaxBatch);
  EXPECT_EQ(StartsAfter({}, {.waiting = 20, .running = 5}, {}), 3);
  EXPECT_EQ(StartsAfter({}, {.waiting = 20, .running = kMaxBatch}, {}), 0);
}

TEST(BatchPolicy, HoldsBackUntilTheOldestHasWaitedForTheWindow) {
  const BatchPolicy policy{.window = microseconds(100)};

  EXPECT_EQ(StartsAfter(policy, {.waiting = 3}, microseconds(0)), 0);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 3}, microseconds(99)), 0);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 3}, microseconds(100)), 3);
}

TEST(BatchPolicy, AFullBatchNeedsNotWait) {
  const BatchPolicy policy{.window = microseconds(100)};

  EXPECT_EQ(StartsAfter(policy, {.waiting = kMaxBatch - 1}, {}), 0);
  EXPECT_EQ(StartsAfter(policy, {.waiting = kMaxBatch}, {}), kMaxBatch);
}

TEST(BatchPolicy, APreferredSizeStartsExactly) {
  const BatchPolicy policy{.window = microseconds(100), .preferred = {6, 2, 4}};

  EXPECT_EQ(StartsAfter(policy, {.waiting = 1}, {}), 0);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 2}, {}), 2);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 3}, {}), 2);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 5}, {}), 4);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 7}, {}), 6);
}

TEST(BatchPolicy, AfterTheWindowPreferredSizesDoNotMatter) {
  const BatchPolicy policy{.window = microseconds(100), .preferred = {4}};

  EXPECT_EQ(StartsAfter(policy, {.waiting = 5}, microseconds(100)), 5);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 1}, microseconds(100)), 1);
}

TEST(BatchPolicy, ARunningContinuousBatchTakesInWhatComes) {
  const BatchPolicy policy{.window = microseconds(100), .preferred = {4}};

  EXPECT_EQ(StartsAfter(policy, {.waiting = 1, .running = 1}, {}), 1);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 5, .running = 1}, {}), 5);
}

TEST(BatchPolicy, ARunningStaticBatchTakesInNothing) {
  const BatchPolicy policy{.mode = BatchMode::kStatic};

  EXPECT_EQ(StartsAfter(policy, {.waiting = 20, .running = 1}, std::chrono::hours(1)), 0);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 20}, {}), kMaxBatch);
}

TEST(BatchPolicy, AStaticBatchKeepsWindowAndPreferredSizes) {
  const BatchPolicy policy{
      .mode = BatchMode::kStatic, .window = microseconds(100), .preferred = {4}};

  EXPECT_EQ(StartsAfter(policy, {.waiting = 3}, microseconds(99)), 0);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 5}, microseconds(99)), 4);
  EXPECT_EQ(StartsAfter(policy, {.waiting = 3}, microseconds(100)), 3);
}

TEST(BatchPolicy, TheWindowEndsAfterTheArrivalOfTheOldest) {
  const BatchPolicy policy{.window = microseconds(100)};

  EXPECT_EQ(WindowEnd(policy, {.waiting = 1, .oldest = kStart}), kStart + microseconds(100));
}

TEST(BatchPolicy, NoWindowEndsWhileNothingWaitsOrSomethingRuns) {
  const BatchPolicy policy{.window = microseconds(100)};

  EXPECT_EQ(WindowEnd(policy, {}), Time::max());
  EXPECT_EQ(WindowEnd(policy, {.waiting = 1, .oldest = kStart, .running = 1}), Time::max());
}

}  // namespace
}  // namespace codegen::runtime
