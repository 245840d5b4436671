// SPDX-License-Identifier: Apache-2.0
//
// Mistakes of the kind that kernels have, each planted into a kernel that is right without, and who
// finds it: the six schedules by wrong results, the thread sanitizer as a race, the address
// sanitizer as an overflow. What the emulator itself refuses is tested where it is refused
// (warp_test.cc, barriers_test.cc, copy_test.cc).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "simt/product.cuh"
#include "simt/run.h"
#include "simt/sum.cuh"
#include "support/simt/sanitizers.h"

namespace codegen::cuda {
namespace {

using simt::Schedule;

float SmallInteger(std::mt19937& random) {
  return static_cast<float>(static_cast<int>(random() % 17) - 8);
}

// Whether the sums of a few rows come out exactly; integers do in every order.
template <Plant kPlant>
bool SumsRight(const Schedule& schedule) {
  constexpr int kRows = 3;
  constexpr int kColumns = 500;
  std::mt19937 random(1);
  std::vector<float> x(kRows * kColumns);
  for (float& value : x) value = SmallInteger(random);
  std::vector<float> sums(kRows, NAN);

  const auto diagnostics = simt::RunOnce(schedule, {.grid = dim3(kRows), .block = dim3(128)}, [&] {
    SumKernel<kPlant>(sums.data(), x.data(), kColumns);
  });

  bool right = diagnostics.empty();
  for (int row = 0; row < kRows; ++row) {
    float expected = 0;
    for (int i = 0; i < kColumns; ++i) expected += x[static_cast<std::size_t>(row * kColumns + i)];
    right = right && sums[static_cast<std::size_t>(row)] == expected;
  }
  return right;
}

std::vector<__nv_bfloat16> RandomMatrix(std::mt19937& random, int elements) {
  std::vector<__nv_bfloat16> matrix(static_cast<std::size_t>(elements));
  for (__nv_bfloat16& element : matrix) element = __float2bfloat16(SmallInteger(random));
  return matrix;
}

// Whether every element is the exact sum of its products, again of integers.
bool IsProduct(const ProductArgs& args) {
  for (int row = 0; row < args.m; ++row) {
    for (int column = 0; column < args.n; ++column) {
      float sum = 0;
      for (int i = 0; i < args.k; ++i)
        sum += __bfloat162float(args.a[row * args.k + i]) *
               __bfloat162float(args.b[column * args.k + i]);
      if (args.c[row * args.n + column] != sum) return false;
    }
  }
  return true;
}

template <Plant kPlant>
bool ProductRight(const Schedule& schedule) {
  constexpr int kM = 83;
  constexpr int kN = 2 * kTile;
  constexpr int kK = 4 * kDepth;
  std::mt19937 random(2);
  const std::vector<__nv_bfloat16> a = RandomMatrix(random, kM * kK);
  const std::vector<__nv_bfloat16> b = RandomMatrix(random, kN * kK);
  std::vector<float> c(kM * kN, NAN);
  const ProductArgs args{.c = c.data(), .a = a.data(), .b = b.data(), .m = kM, .n = kN, .k = kK};

  const auto diagnostics = simt::RunOnce(schedule,
                                         {.grid = dim3(kN / kTile, (kM + kTile - 1) / kTile),
                                          .block = dim3(kProductThreads),
                                          .shared_bytes = kProductShared},
                                         [&] { ProductKernel<kPlant>(args); });
  return diagnostics.empty() && IsProduct(args);
}

// In how many schedules the results are wrong.
int Findings(bool (*right)(const Schedule&)) {
  int findings = 0;
  for (const Schedule& schedule : simt::AllSchedules()) findings += right(schedule) ? 0 : 1;
  return findings;
}

TEST(Planted, NothingIsNothingToFind) {
  EXPECT_EQ(Findings(&SumsRight<Plant::kNothing>), 0);
  EXPECT_EQ(Findings(&ProductRight<Plant::kNothing>), 0);
}

// Each of these is a race as well, which would end a program under the thread sanitizer.
TEST(Planted, SchedulesFindMissingBarriers) {
  if (sanitizers::kThread) GTEST_SKIP();

  EXPECT_GE(Findings(&SumsRight<Plant::kNoBarrierBeforeRead>), 4);
  EXPECT_GE(Findings(&SumsRight<Plant::kWarpSkipsBarrier>), 4);
  EXPECT_EQ(Findings(&ProductRight<Plant::kNoBarrierAtLoopEnd>), 6);
}

TEST(Planted, SchedulesFindCopiesThatNobodyWaitsFor) {
  EXPECT_EQ(Findings(&ProductRight<Plant::kNoWait>), 6);
}

// One of the two poisons does; the memory sanitizer would find it always.
TEST(Planted, SchedulesFindReadsOfWhatNobodyWrote) {
  EXPECT_EQ(Findings(&SumsRight<Plant::kReadsUninitialised>), 3);
}

TEST(Planted, SchedulesFindWritesBehindTheEnd) {
  if (sanitizers::kAddress) GTEST_SKIP();

  EXPECT_EQ(Findings(&SumsRight<Plant::kWritesBehindEnd>), 6);
}

TEST(Planted, AddressSanitizerFindsWritesBehindTheEnd) {
  if (!sanitizers::kAddress) GTEST_SKIP();
  GTEST_FLAG_SET(death_test_style, "threadsafe");

  EXPECT_DEATH(Findings(&SumsRight<Plant::kWritesBehindEnd>), "heap-buffer-overflow");
}

// A process of its own, which the sanitizer lets end with 66, at once or in the end.
void ExpectRace(bool (*right)(const Schedule&)) {
  for (const Schedule& schedule : simt::AllSchedules()) {
    SCOPED_TRACE(testing::PrintToString(schedule));
    EXPECT_EXIT(
        {
          right(schedule);
          std::exit(0);
        },
        testing::ExitedWithCode(66), "data race");
  }
}

TEST(Planted, ThreadSanitizerFindsMissingBarriersInEverySchedule) {
  if (!sanitizers::kThread) GTEST_SKIP();
  GTEST_FLAG_SET(death_test_style, "threadsafe");

  ExpectRace(&SumsRight<Plant::kNoBarrierBeforeRead>);
  ExpectRace(&SumsRight<Plant::kWarpSkipsBarrier>);
  ExpectRace(&ProductRight<Plant::kNoBarrierAtLoopEnd>);
}

// All blocks add to the same word, without an atomic; that they have barriers of their own does not
// order them.
bool SharesAWord(const Schedule& schedule) {
  int word = 0;
  simt::RunOnce(schedule, {.grid = dim3(4), .block = dim3(64)}, [&] {
    __syncthreads();
    if (threadIdx.x == blockIdx.x) ++word;
    __syncthreads();
  });
  return word == 4;
}

// One thread reads what another writes between the same two barriers. Whoever goes first has
// reached the second barrier before the other leaves the first.
bool ReadsBesideAWrite(const Schedule& schedule) {
  int word = 0;
  int copy = 0;
  simt::RunOnce(schedule, {.grid = dim3(1), .block = dim3(32)}, [&] {
    __syncthreads();
    if (Lane() == 0) copy = word;
    if (Lane() == 31) word = 1;
    __syncthreads();
  });
  return copy == 1;
}

// Lanes read what others wrote, with only a shuffle between, which orders nothing.
bool TrustsAShuffle(const Schedule& schedule) {
  int words[32] = {};
  int copies[32] = {};
  simt::RunOnce(schedule, {.grid = dim3(1), .block = dim3(32)}, [&] {
    words[Lane()] = Lane();
    const int other = __shfl_xor_sync(kAllLanes, Lane(), 1);
    copies[Lane()] = words[other];
  });
  return copies[0] == 1;
}

// Publishes with an atomic, but without a fence.
bool ForgetsTheFence(const Schedule& schedule) {
  int words[2] = {};
  int sum = 0;
  unsigned done = 0;
  simt::RunOnce(schedule, {.grid = dim3(2), .block = dim3(32)}, [&] {
    const bool first = threadIdx.x == 7 * blockIdx.x;
    if (first) words[blockIdx.x] = 1;
    __syncthreads();
    if (first && atomicAdd(&done, 1U) == 1) sum = words[0] + words[1];
  });
  return sum == 2;
}

TEST(Planted, ThreadSanitizerFindsRacesBetweenBlocksAndLanes) {
  if (!sanitizers::kThread) GTEST_SKIP();
  GTEST_FLAG_SET(death_test_style, "threadsafe");

  ExpectRace(&SharesAWord);
  ExpectRace(&ReadsBesideAWrite);
  ExpectRace(&TrustsAShuffle);
  ExpectRace(&ForgetsTheFence);
}

}  // namespace
}  // namespace codegen::cuda
