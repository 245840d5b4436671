// SPDX-License-Identifier: Apache-2.0
#include "support/simt/barriers.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "simt/run.h"
#include "support/simt/kernel.h"

namespace codegen::simt {
namespace {

TEST(SyncThreads, LetsNobodyPassBeforeAllHaveCome) {
  for (const int threads : {1, 31, 32, 33, 128, 1024}) {
    int phases[3] = {};
    RunCorrect(
        threads,
        [&] {
          for (int& phase : phases) {
            atomicAdd(&phase, 1);
            __syncthreads();
            EXPECT_EQ(atomicAdd(&phase, 0), threads);
          }
        },
        [&] {
          for (int& phase : phases) phase = 0;
        });
  }
}

TEST(SyncThreads, DoesNotWaitForThreadsThatReturned) {
  int passed = 0;

  RunCorrect(
      64,
      [&] {
        if (threadIdx.x % 3 == 0) return;
        __syncthreads();
        atomicAdd(&passed, 1);
      },
      [&] {
        EXPECT_EQ(passed, 42);
        passed = 0;
      });
}

TEST(SyncThreads, OpensWhenTheLastMissingThreadReturns) {
  RunCorrect(
      64,
      [&] {
        if (threadIdx.x == 20) {
          for (int i = 0; i < 64; ++i) __nanosleep(1);
          return;
        }
        __syncthreads();
      },
      [] {});
}

TEST(SyncThreads, CountsVotes) {
  for (const int ayes : {0, 1, 63, 64}) {
    RunCorrect(
        64,
        [&] {
          const int aye = static_cast<int>(threadIdx.x) < ayes ? 4 : 0;
          EXPECT_EQ(__syncthreads_count(aye), ayes);
          EXPECT_EQ(__syncthreads_or(aye), ayes > 0 ? 1 : 0);
          EXPECT_EQ(__syncthreads_and(aye), ayes == 64 ? 1 : 0);
        },
        [] {});
  }
}

TEST(SyncThreads, IsReachedByAllAtTheSameLine) {
  RunWrong(64, "not at the same line", [] {
    if (threadIdx.x < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  });
}

TEST(SyncThreads, SaysWhoWaitsWhereIfNobodyCanGoOn) {
  const int line = __LINE__ + 3;
  const auto kernel = [] {
    if (threadIdx.x == 32) return;
    if (threadIdx.x < 32 || threadIdx.x % 2 == 1) __syncthreads();
    __syncwarp(~1U);
  };

  RunWrong(64,
           "nobody can go on; 48 threads (first: 0) wait in __syncthreads at barriers_test.cc:" +
               std::to_string(line) + "; 15 threads (first: 34) wait in __syncwarp at ",
           kernel);
}

TEST(NamedBarrier, LetsTwoGroupsOfWarpsMeetApart) {
  int half[2] = {};
  int both = 0;

  RunCorrect(
      128,
      [&] {
        const int group = threadIdx.x < 64 ? 0 : 1;
        for (int round = 1; round <= 3; ++round) {
          atomicAdd(&half[group], 1);
          cuda::SyncNamedBarrier(1 + group, 64);
          EXPECT_EQ(atomicAdd(&half[group], 0), 64 * round);
          cuda::SyncNamedBarrier(1 + group, 64);
        }
        atomicAdd(&both, 1);
        if (group == 0) {
          cuda::SyncNamedBarrier(3, 128);
        } else {
          cuda::SyncNamedBarrier(3, 128);  // another line is as good
        }
        EXPECT_EQ(atomicAdd(&both, 0), 128);
      },
      [&] { half[0] = half[1] = both = 0; });
}

TEST(NamedBarrier, RefusesWhatADeviceCannotCount) {
  RunWrong(32, "is none of 1 to 15", [] { cuda::SyncNamedBarrier(0, 32); });
  RunWrong(32, "is none of 1 to 15", [] { cuda::SyncNamedBarrier(16, 32); });
  RunWrong(32, "are no whole warps", [] { cuda::SyncNamedBarrier(1, 16); });
  RunWrong(64, "others wait there for",
           [] { cuda::SyncNamedBarrier(1, threadIdx.x < 32 ? 32 * 4 : 32 * 3); });
  RunWrong(64, "nobody can go on", [] { cuda::SyncNamedBarrier(1, 96); });
}

// The pattern of a last block that adds up what the others left.
TEST(ThreadFence, PublishesToTheThreadThatCountsLast) {
  constexpr unsigned kBlocks = 5;
  std::vector<int> left(kBlocks);
  unsigned done = 0;
  int total = 0;

  RunCorrect(
      {.grid = dim3(kBlocks), .block = dim3(32)},
      [&] {
        if (threadIdx.x != blockIdx.x) return;
        left[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
        __threadfence();
        if (atomicInc(&done, kBlocks - 1) < kBlocks - 1) return;
        __threadfence();
        for (const int part : left) total += part;
      },
      [&] {
        EXPECT_EQ(total, 15);
        EXPECT_EQ(done, 0U);
        total = 0;
      });
}

}  // namespace
}  // namespace codegen::simt
