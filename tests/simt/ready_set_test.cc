// SPDX-License-Identifier: Apache-2.0
#include "support/simt/ready_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace codegen::simt {
namespace {

TEST(ReadySet, HasNoMemberAtFirst) {
  const ReadySet set;

  EXPECT_EQ(set.AtOrAfter(0), ReadySet::kNone);
  EXPECT_EQ(set.Last(), ReadySet::kNone);
  EXPECT_EQ(set.Cyclic(ReadySet::kThreads), ReadySet::kNone);
}

TEST(ReadySet, FollowsTheDefinitionOnRandomSets) {
  std::mt19937 random(1);
  const auto thread = [&] { return static_cast<int>(random() % ReadySet::kThreads); };
  ReadySet set;
  std::set<int> naive;
  for (int round = 0; round < 20'000; ++round) {
    const int changed = thread();
    if (round / 1000 % 2 == 0) {
      set.Insert(changed);
      naive.insert(changed);
    } else {
      set.Erase(changed);
      naive.erase(changed);
    }

    const int from = thread();
    const auto next = naive.lower_bound(from);
    const int first = naive.empty() ? ReadySet::kNone : *naive.begin();
    ASSERT_EQ(set.AtOrAfter(from), next == naive.end() ? ReadySet::kNone : *next);
    ASSERT_EQ(set.Cyclic(from), next == naive.end() ? first : *next);
    ASSERT_EQ(set.Last(), naive.empty() ? ReadySet::kNone : *naive.rbegin());
  }
}

TEST(ReadySet, BeginsAnewBehindTheLastThread) {
  ReadySet set;
  set.Insert(5);

  EXPECT_EQ(set.Cyclic(6), 5);
  EXPECT_EQ(set.Cyclic(ReadySet::kThreads), 5);
}

}  // namespace
}  // namespace codegen::simt
