// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/reduce.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "simt/run.h"
#include "support/simt/sanitizers.h"

namespace codegen::cuda {
namespace {

using simt::RunCorrect;

// Small integers: exact in every order of addition.
std::vector<float> Integers(int count) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(static_cast<int>(random() % 2001) - 1000);
  return values;
}

template <int kLanes>
void ExpectWarpReductions() {
  const std::vector<float> values = Integers(64);
  RunCorrect(
      64,
      [&] {
        const auto* begin = values.data() + Thread() / kLanes * kLanes;
        float sum = 0;
        for (int i = 0; i < kLanes; ++i) sum += begin[i];
        EXPECT_EQ(WarpSum<kLanes>(values[threadIdx.x]), sum);
        EXPECT_EQ(WarpSum<kLanes>(static_cast<int>(values[threadIdx.x])), static_cast<int>(sum));
        EXPECT_EQ(WarpMax<kLanes>(values[threadIdx.x]), *std::max_element(begin, begin + kLanes));
      },
      [] {});
}

TEST(WarpReduce, FoldsEachGroupOfLanes) {
  ExpectWarpReductions<1>();
  ExpectWarpReductions<2>();
  ExpectWarpReductions<4>();
  ExpectWarpReductions<8>();
  ExpectWarpReductions<16>();
  ExpectWarpReductions<32>();
}

TEST(BlockReduce, FoldsAllThreadsOfTheBlock) {
  for (const int threads : {32, 64, 96, 256, 1024}) {
    const std::vector<float> values = Integers(threads);
    float sum = 0;
    for (const float value : values) sum += value;
    const float greatest = *std::max_element(values.begin(), values.end());
    RunCorrect(
        threads,
        [&] {
          const float value = values[threadIdx.x];
          EXPECT_EQ(BlockSum(value), sum);
          EXPECT_EQ(BlockSum(2 * value), 2 * sum);  // the same shared memory at once again
          EXPECT_EQ(BlockSum(static_cast<int>(value)), static_cast<int>(sum));
          EXPECT_EQ(BlockMax(value), greatest);
          EXPECT_EQ(BlockMax(-value), -*std::min_element(values.begin(), values.end()));
        },
        [] {});
  }
}

TEST(BlockReduce, GivesEveryThreadTheSameBitsInEverySchedule) {
  constexpr int kThreads = 160;
  std::mt19937 random(1);
  std::vector<float> values(kThreads);
  for (float& value : values) value = std::ldexp(static_cast<float>(random() % 1000), -10);
  std::vector<float> sums;

  RunCorrect(
      kThreads,
      [&] {
        const float sum = BlockSum(values[threadIdx.x]);
        const simt::Unobserved bookkeeping;
        sums.push_back(sum);
      },
      [] {});

  EXPECT_EQ(sums.size(), 6U * kThreads);
  EXPECT_TRUE(std::all_of(sums.begin(), sums.end(), [&](float sum) { return sum == sums[0]; }));
}

TEST(WarpMax, PrefersNumbersToNan) {
  RunCorrect(
      32, [] { EXPECT_EQ(WarpMax(Lane() == 3 ? NAN : static_cast<float>(-Lane())), 0); }, [] {});
}

}  // namespace
}  // namespace codegen::cuda
