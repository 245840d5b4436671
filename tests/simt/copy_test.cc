// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/copy.cuh"

#include <gtest/gtest.h>

#include <cstring>

#include "simt/run.h"
#include "support/simt/async_copies.h"

namespace codegen::cuda {
namespace {

using simt::RunCorrect;
using simt::RunWrong;

TEST(AsyncCopies, TakesAllGroupsButTheLast) {
  simt::AsyncCopies copies;
  char to[4] = {};
  copies.Add(&to[0], nullptr);
  copies.Add(&to[1], nullptr);
  copies.Commit();
  copies.Commit();  // an empty group
  copies.Add(&to[2], nullptr);
  copies.Commit();
  copies.Add(&to[3], nullptr);  // not committed

  EXPECT_EQ(copies.Take(3).size(), 0U);
  const auto first = copies.Take(2);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[1].to, &to[1]);
  EXPECT_EQ(copies.Take(1).size(), 0U);
  EXPECT_EQ(copies.Take(0).size(), 1U);
  EXPECT_EQ(copies.Take(0).size(), 0U);
  copies.Commit();
  EXPECT_EQ(copies.Take(0).size(), 1U);
}

struct alignas(16) Words {
  int words[4];
};

// A copy arrives at the wait, not before; and takes what the source holds then.
TEST(CopyAsync16, ArrivesWhenItIsWaitedFor) {
  Words source[2] = {};

  RunCorrect(
      1,
      [&] {
        CODEGEN_SHARED(Words, stage, 2);
        source[0] = source[1] = {{1, 2, 3, 4}};
        stage[0] = stage[1] = {};
        CopyAsync16(&stage[0], &source[0]);
        CommitCopies();
        CopyAsync16(&stage[1], &source[1]);
        CommitCopies();
        EXPECT_NE(stage[0].words[1], 2);
        source[0].words[1] = 20;
        WaitCopies<1>();
        EXPECT_EQ(stage[0].words[1], 20);
        EXPECT_EQ(stage[0].words[3], 4);
        EXPECT_NE(stage[1].words[3], 4);
        WaitCopies<0>();
        EXPECT_EQ(stage[1].words[3], 4);
      },
      [] {});
}

TEST(CopyAsync16, WritesZerosWithoutReadingWhatIsNotWanted) {
  RunCorrect(
      1,
      [] {
        CODEGEN_SHARED(Words, stage, 1);
        CopyAsync16(&stage[0], nullptr, false);
        CommitCopies();
        WaitCopies<0>();
        for (const int word : stage[0].words) EXPECT_EQ(word, 0);
      },
      [] {});
}

TEST(WaitCopies, IgnoresWhatWasNotCommitted) {
  RunCorrect(
      1,
      [] {
        CODEGEN_SHARED(Words, stage, 1);
        stage[0] = {{7, 7, 7, 7}};
        CopyAsync16(&stage[0], nullptr, false);
        WaitCopies<0>();
        EXPECT_EQ(simt::CurrentBlock().copies().Take(0).size(), 0U);
        CommitCopies();
        WaitCopies<0>();
        EXPECT_EQ(stage[0].words[0], 0);
      },
      [] {});
}

TEST(CopyAsync16, RefusesAddressesThatADeviceRefuses) {
  static Words global[2];
  auto* bytes = reinterpret_cast<char*>(global);

  RunWrong(1, "from: the address is no multiple of 16", [&] {
    CODEGEN_SHARED(Words, stage, 2);
    CopyAsync16(stage, bytes + 8);
  });
  RunWrong(1, "to: the address is no multiple of 16", [&] {
    CODEGEN_SHARED(Words, stage, 2);
    CopyAsync16(reinterpret_cast<char*>(stage) + 4, global);
  });
  RunWrong(1, "to: the address is not in shared memory", [&] { CopyAsync16(global, global + 1); });
}

}  // namespace
}  // namespace codegen::cuda
