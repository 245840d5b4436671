// SPDX-License-Identifier: Apache-2.0
#include "support/simt/warp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "simt/run.h"
#include "support/simt/kernel.h"

namespace codegen::simt {
namespace {

constexpr unsigned kAll = 0xFFFFFFFF;

int Lane() { return static_cast<int>(threadIdx.x) % 32; }

// The definitions of the programming guide: a source beyond the calling lane's group of `width`
// lanes gives the lane its own value; for xor, an earlier group is not beyond.
int NaiveShuffleUp(int lane, int distance, int width) {
  return lane % width >= distance ? lane - distance : lane;
}
int NaiveShuffleDown(int lane, int distance, int width) {
  return lane % width + distance < width ? lane + distance : lane;
}
int NaiveShuffleXor(int lane, int bits, int width) {
  return (lane ^ bits) / width > lane / width ? lane : lane ^ bits;
}

TEST(Shuffle, FollowsTheDefinitionAtEveryDistanceAndWidth) {
  for (int width = 1; width <= 32; width *= 2) {
    RunCorrect(
        64,
        [&] {
          const int lane = Lane();
          for (int i = 0; i < 32; ++i) {
            const auto distance = static_cast<unsigned>(i);
            ASSERT_EQ(__shfl_sync(kAll, lane, i, width), lane / width * width + i % width);
            ASSERT_EQ(__shfl_up_sync(kAll, lane, distance, width), NaiveShuffleUp(lane, i, width));
            ASSERT_EQ(__shfl_down_sync(kAll, lane, distance, width),
                      NaiveShuffleDown(lane, i, width));
            ASSERT_EQ(__shfl_xor_sync(kAll, lane, i, width), NaiveShuffleXor(lane, i, width));
          }
        },
        [] {});
  }
}

TEST(Shuffle, TakesEachLaneFromWhereItWants) {
  RunCorrect(
      32,
      [] { ASSERT_EQ(__shfl_sync(kAll, Lane() * 10, Lane() * 7 + 3), (Lane() * 7 + 3) % 32 * 10); },
      [] {});
}

TEST(Shuffle, MovesEveryTypeOfUpTo8Bytes) {
  RunCorrect(
      32,
      [] {
        EXPECT_EQ(__shfl_xor_sync(kAll, Lane() * 0.5, 1), (Lane() ^ 1) * 0.5);
        EXPECT_EQ(__shfl_xor_sync(kAll, static_cast<float>(Lane()), 1),
                  static_cast<float>(Lane() ^ 1));
        EXPECT_EQ(__shfl_xor_sync(kAll, 1LL << Lane(), 1), 1LL << (Lane() ^ 1));
        const __nv_bfloat16 moved =
            __shfl_xor_sync(kAll, __float2bfloat16(static_cast<float>(Lane())), 1);
        EXPECT_EQ(__bfloat162float(moved), static_cast<float>(Lane() ^ 1));
      },
      [] {});
}

TEST(Shuffle, WorksAmongTheLanesOfAMask) {
  RunCorrect(
      32,
      [] {
        if (Lane() % 3 != 0) return;
        const unsigned mask = 0x49249249;  // 0, 3, 6, ...
        EXPECT_EQ(__shfl_sync(mask, Lane(), Lane() < 30 ? Lane() + 3 : 0), (Lane() + 3) % 33);
      },
      [] {});
}

// Two halves of a warp that go different ways, one of them longer.
TEST(Shuffle, KeepsMasksApart) {
  int sums[2] = {};

  RunCorrect(
      32,
      [&] {
        const bool low = Lane() < 16;
        const unsigned mask = low ? 0xFFFF : 0xFFFF0000;
        int value = 1;
        for (int distance = 8; distance > 0; distance /= 2)
          value += __shfl_xor_sync(mask, value, distance);
        if (!low) value += __shfl_xor_sync(mask, value, 1);
        if (Lane() % 16 == 0) sums[low ? 0 : 1] = value;
      },
      [&] {
        EXPECT_EQ(sums[0], 16);
        EXPECT_EQ(sums[1], 32);
      });
}

TEST(Votes, FollowTheDefinitionsOnRandomMasks) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    const auto mask = static_cast<unsigned>(random());
    const auto ayes = static_cast<unsigned>(round % 3 == 0 ? random() : round % 3 == 1 ? mask : 0);
    RunCorrect(
        32,
        [&] {
          if ((mask >> Lane() & 1) == 0) return;
          const int aye = static_cast<int>(ayes >> Lane() & 1) * 8;
          EXPECT_EQ(__ballot_sync(mask, aye), ayes & mask);
          EXPECT_EQ(__any_sync(mask, aye), (ayes & mask) != 0 ? 1 : 0);
          EXPECT_EQ(__all_sync(mask, aye), (ayes & mask) == mask ? 1 : 0);
        },
        [] {});
  }
}

TEST(Reduce, FollowsTheDefinitionOnRandomMasks) {
  std::mt19937 random(2);
  for (int round = 0; round < 20; ++round) {
    const auto mask = static_cast<unsigned>(random()) | 1;
    int values[32];
    int sum = 0, least = 0x7fffffff, greatest = -0x7fffffff;
    unsigned all = kAll, some = 0, odd = 0;
    for (int lane = 0; lane < 32; ++lane) {
      values[lane] = static_cast<int>(random() % 2001) - 1000;
      if ((mask >> lane & 1) == 0) continue;
      sum += values[lane];
      least = std::min(least, values[lane]);
      greatest = std::max(greatest, values[lane]);
      all &= static_cast<unsigned>(values[lane]);
      some |= static_cast<unsigned>(values[lane]);
      odd ^= static_cast<unsigned>(values[lane]);
    }
    RunCorrect(
        32,
        [&] {
          if ((mask >> Lane() & 1) == 0) return;
          const int value = values[Lane()];
          const auto bits = static_cast<unsigned>(value);
          EXPECT_EQ(__reduce_add_sync(mask, value), sum);
          EXPECT_EQ(__reduce_add_sync(mask, bits), static_cast<unsigned>(sum));
          EXPECT_EQ(__reduce_min_sync(mask, value), least);
          EXPECT_EQ(__reduce_max_sync(mask, value), greatest);
          EXPECT_EQ(__reduce_and_sync(mask, bits), all);
          EXPECT_EQ(__reduce_or_sync(mask, bits), some);
          EXPECT_EQ(__reduce_xor_sync(mask, bits), odd);
        },
        [] {});
  }
}

TEST(Match, NamesTheLanesWithTheSameValue) {
  RunCorrect(
      32,
      [] {
        int all = 7;
        EXPECT_EQ(__match_any_sync(kAll, Lane() % 4), 0x11111111U << (Lane() % 4));
        EXPECT_EQ(__match_all_sync(kAll, 5, &all), kAll);
        EXPECT_EQ(all, 1);
        EXPECT_EQ(__match_all_sync(kAll, Lane() / 31, &all), 0U);
        EXPECT_EQ(all, 0);
      },
      [] {});
}

TEST(ActiveMask, PromisesTheCallingLaneOnly) {
  RunCorrect(
      32, [] { EXPECT_EQ(__activemask(), 1U << Lane()); }, [] {});
}

TEST(SyncWarp, LetsNobodyPassBeforeAllHaveCome) {
  int arrived[2] = {};

  RunCorrect(
      64,
      [&] {
        int& count = arrived[threadIdx.x / 32];
        atomicAdd(&count, 1);
        __syncwarp();
        EXPECT_EQ(atomicAdd(&count, 0), 32);
      },
      [&] { arrived[0] = arrived[1] = 0; });
}

TEST(Collective, RefusesAMaskWithoutTheCaller) {
  RunWrong(32, "does not name the calling lane", [] { __syncwarp(0xFFFF); });
}

TEST(Collective, RefusesAMaskThatNamesLanesBeyondTheBlock) {
  RunWrong(40, "names lane 8, which does not exist", [] { __syncwarp(kAll); });
}

// Unless the others wait already when the lane returns; then they wait for ever.
TEST(Collective, RefusesAMaskThatNamesLanesThatReturned) {
  RunWrong(32, "__shfl_xor_sync", [] {
    if (Lane() == 5) return;
    __shfl_xor_sync(kAll, Lane(), 1);
  });
}

TEST(Collective, IsReachedByAllLanesAtTheSameLine) {
  RunWrong(32, "not at the same line", [] {
    if (Lane() < 5) {
      __shfl_xor_sync(kAll, Lane(), 1);
    } else {
      __shfl_xor_sync(kAll, Lane(), 1);
    }
  });
}

TEST(Collective, NoticesThatLanesStayAway) {
  RunWrong(32, "__ballot_sync", [] {
    if (Lane() % 2 == 0) __ballot_sync(kAll, 1);
  });
}

}  // namespace
}  // namespace codegen::simt
