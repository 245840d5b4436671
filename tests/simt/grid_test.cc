// SPDX-License-Identifier: Apache-2.0
#include "support/simt/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <thread>
#include <tuple>
#include <vector>

#include "simt/run.h"
#include "support/simt/kernel.h"
#include "support/simt/sanitizers.h"

namespace codegen::simt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

TEST(Grid, RunsEveryThreadOnceUnderItsIndices) {
  using Index = std::tuple<unsigned, unsigned, unsigned, unsigned, unsigned, unsigned>;
  const GridShape shape{.grid = dim3(2, 3, 2), .block = dim3(5, 4, 3)};
  std::map<Index, int> runs;

  RunCorrect(
      shape,
      [&] {
        ASSERT_EQ(gridDim.x * 100 + gridDim.y * 10 + gridDim.z, 232U);
        ASSERT_EQ(blockDim.x * 100 + blockDim.y * 10 + blockDim.z, 543U);
        const Unobserved bookkeeping;
        ++runs[{blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z}];
      },
      [&] {
        EXPECT_EQ(runs.size(), 2U * 3 * 2 * 5 * 4 * 3);
        for (const auto& [index, count] : runs) EXPECT_EQ(count, 1);
        EXPECT_EQ(runs.rbegin()->first, Index(1, 2, 1, 4, 3, 2));
        runs.clear();
      });
}

TEST(Grid, KeepsTheIndicesOfAThreadAcrossBarriers) {
  RunCorrect(
      {.grid = dim3(2), .block = dim3(16, 8)},
      [&] {
        const uint3 thread = threadIdx;
        const uint3 block = blockIdx;
        for (int i = 0; i < 5; ++i) {
          __syncthreads();
          ASSERT_EQ(threadIdx.x, thread.x);
          ASSERT_EQ(threadIdx.y, thread.y);
          ASSERT_EQ(blockIdx.x, block.x);
        }
      },
      [] {});
}

// Block and thread of every thread, as they run.
std::vector<unsigned> RunningOrder(Order order, std::uint32_t seed) {
  std::vector<unsigned> ran;
  const ScopedSchedule use({.order = order, .seed = seed});
  RunGrid({.grid = dim3(3), .block = dim3(40)}, "kernel", [&] {
    const Unobserved bookkeeping;
    ran.push_back(blockIdx.x * 100 + threadIdx.x);
  });
  return ran;
}

TEST(Grid, RunsBlocksAndThreadsInTheOrderOfTheSchedule) {
  const std::vector<unsigned> forward = RunningOrder(Order::kForward, 1);
  const std::vector<unsigned> backward = RunningOrder(Order::kBackward, 1);
  const std::vector<unsigned> random = RunningOrder(Order::kRandom, 1);

  EXPECT_TRUE(std::is_sorted(forward.begin(), forward.end()));
  EXPECT_TRUE(std::is_sorted(backward.rbegin(), backward.rend()));
  EXPECT_THAT(random, testing::UnorderedElementsAreArray(forward));
  EXPECT_NE(random, forward);
  EXPECT_NE(random, RunningOrder(Order::kRandom, 2));
  EXPECT_EQ(random, RunningOrder(Order::kRandom, 1));
}

// In forward order the first warp runs to the end of each phase before the second goes on.
TEST(Grid, LetsOneEndOfTheBlockRunAhead) {
  std::vector<unsigned> ran;
  const auto kernel = [&] {
    for (int i = 0; i < 3; ++i) {
      __syncwarp();
      const Unobserved bookkeeping;
      if (threadIdx.x % 32 == 0) ran.push_back(threadIdx.x / 32);
    }
  };

  RunOnce({.order = Order::kForward}, {.grid = dim3(1), .block = dim3(64)}, kernel);
  EXPECT_THAT(ran, ElementsAre(0, 0, 0, 1, 1, 1));

  ran.clear();
  RunOnce({.order = Order::kBackward}, {.grid = dim3(1), .block = dim3(64)}, kernel);
  EXPECT_THAT(ran, ElementsAre(1, 1, 1, 0, 0, 0));
}

TEST(Grid, RefusesShapesThatADeviceRefuses) {
  const auto check = [](dim3 grid, dim3 block, std::size_t shared_bytes) {
    return CheckShape({.grid = grid, .block = block, .shared_bytes = shared_bytes});
  };

  EXPECT_EQ(check(dim3(1), dim3(1024), kMaxShared), cudaSuccess);
  EXPECT_EQ(check(dim3(0x7fffffff, 65535, 65535), dim3(1, 1, 64), 0), cudaSuccess);
  EXPECT_EQ(check(dim3(1), dim3(1024), kMaxShared + 1), cudaErrorInvalidValue);
  EXPECT_EQ(check(dim3(1), dim3(1025), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(check(dim3(1), dim3(1024, 2), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(check(dim3(1), dim3(1, 1, 65), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(check(dim3(1), dim3(0), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(check(dim3(0), dim3(1), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(check(dim3(1, 65536), dim3(1), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(check(dim3(1, 1, 65536), dim3(1), 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(check(dim3(1), dim3(1U << 16, 1U << 16), 0), cudaErrorInvalidConfiguration);
}

TEST(Grid, SaysWhereAndWhoWentWrong) {
  const auto diagnostics = RunOnce({}, {.grid = dim3(3, 2), .block = dim3(64)}, [] {
    if (blockIdx.y == 1 && threadIdx.x == 7) __trap();
  });

  EXPECT_THAT(diagnostics,
              ElementsAre(MatchesRegex("grid_test.cc:[0-9]+: block \\(0,1,0\\) thread 7: "
                                       "__trap: the kernel gave up, in kernel")));
}

TEST(Grid, RunsNoMoreBlocksAfterAFailure) {
  int blocks = 0;

  RunOnce({}, {.grid = dim3(5), .block = dim3(1)}, [&] {
    atomicAdd(&blocks, 1);
    if (blockIdx.x == 2) __trap();
  });

  EXPECT_EQ(blocks, 3);
}

struct Counter {
  explicit Counter(int& count) : living(count) { Add(1); }
  ~Counter() { Add(-1); }
  void Add(int change) {
    const Unobserved bookkeeping;
    living += change;
  }
  int& living;
};

TEST(Grid, LeavesTheStacksOfAFailedBlockInOrder) {
  int living = 0;
  int late = 0;

  const auto diagnostics = RunOnce({}, {.grid = dim3(1), .block = dim3(64)}, [&] {
    const Counter counter(living);
    if (threadIdx.x == 40) __trap();
    __syncthreads();
    atomicAdd(&late, 1);
  });

  EXPECT_THAT(diagnostics, ElementsAre(HasSubstr("__trap")));
  EXPECT_EQ(living, 0);
  EXPECT_EQ(late, 0);
}

TEST(Grid, GoesOnWellAfterAFailure) {
  RunWrong(64, "__trap", [] {
    if (threadIdx.x == 3) __trap();
    __syncthreads();
  });
  int passed = 0;

  RunCorrect(
      64,
      [&] {
        __syncthreads();
        atomicAdd(&passed, 1);
      },
      [] {});

  EXPECT_EQ(passed, 6 * 64);
}

TEST(Grid, ForgetsDiagnosticsThatWereTaken) {
  RunWrong(1, "__trap", [] { __trap(); });

  EXPECT_THAT(TakeDiagnostics(), IsEmpty());
}

TEST(Grid, RunsOnSeveralHostThreadsAtTheSameTime) {
  constexpr int kThreads = 4;
  std::vector<int> sums(kThreads, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t, &sums] {
      const GridShape shape{.grid = dim3(4), .block = dim3(32U * static_cast<unsigned>(t + 1))};
      for (int round = 0; round < 10; ++round) {
        RunGrid(shape, "kernel", [&] {
          CODEGEN_SHARED(int, sum, 1);
          if (threadIdx.x == 0) sum[0] = 0;
          __syncthreads();
          atomicAdd(&sum[0], 1);
          __syncthreads();
          if (threadIdx.x == 0) atomicAdd(&sums[static_cast<std::size_t>(t)], sum[0]);
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_THAT(sums, ElementsAre(1280, 2560, 3840, 5120));
  EXPECT_THAT(TakeDiagnostics(), IsEmpty());
}

}  // namespace
}  // namespace codegen::simt
