// SPDX-License-Identifier: Apache-2.0
#include "support/simt/shared_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "simt/run.h"
#include "support/simt/kernel.h"
#include "support/simt/sanitizers.h"

namespace codegen::simt {
namespace {

using testing::HasSubstr;

TEST(SharedMemory, HoldsPoisonInEveryBlock) {
  const GridShape shape{.grid = dim3(3), .block = dim3(32), .shared_bytes = 100};
  for (const Schedule& schedule : AllSchedules()) {
    RunOnce(schedule, shape, [&] {
      CODEGEN_SHARED(unsigned char, bytes, 50);
      auto* dynamic = cuda::DynamicShared<unsigned char>();
      if (threadIdx.x != 0) return;
      for (int i = 0; i < 50; ++i) EXPECT_EQ(bytes[i], schedule.poison);
      for (int i = 0; i < 100; ++i) EXPECT_EQ(dynamic[i], schedule.poison);
      bytes[0] = dynamic[0] = 7;
    });
  }
}

TEST(SharedMemory, IsOneForAllThreadsOfABlock) {
  RunCorrect(
      {.grid = dim3(2), .block = dim3(64), .shared_bytes = sizeof(int)},
      [] {
        CODEGEN_SHARED(int, values, 64);
        const auto thread = static_cast<int>(threadIdx.x);
        values[thread] = thread;
        if (thread == 9) *cuda::DynamicShared<int>() = 99;
        __syncthreads();
        EXPECT_EQ(values[63 - thread], 63 - thread);
        EXPECT_EQ(*cuda::DynamicShared<int>(), 99);
      },
      [] {});
}

template <int kNumber>
int* StaticOf() {
  CODEGEN_SHARED(int, word, 1);
  return word;
}

TEST(SharedMemory, IsAnotherForEveryDeclaration) {
  RunCorrect(
      32,
      [] {
        CODEGEN_SHARED(int, first, 4);
        CODEGEN_SHARED(int, second, 4);
        EXPECT_NE(&first[0], &second[0]);
        EXPECT_EQ(sizeof first, 16U);
        EXPECT_EQ(StaticOf<1>(), StaticOf<1>());
        EXPECT_NE(StaticOf<1>(), StaticOf<2>());
      },
      [] {});
}

TEST(SharedMemory, IsAligned) {
  RunCorrect(
      {.grid = dim3(1), .block = dim3(1), .shared_bytes = 3},
      [] {
        CODEGEN_SHARED(char, odd, 3);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(odd) % 16, 0U);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(cuda::DynamicShared<char>()) % 128, 0U);
      },
      [] {});
}

TEST(SharedMemory, HasNoMoreStaticArraysThanADevice) {
  RunWrong(1, "more than 48 KiB of static shared memory", [] {
    CODEGEN_SHARED(char, first, 48 << 10);
    CODEGEN_SHARED(char, second, 1);
    first[0] = second[0] = 0;
  });
}

// The address sanitizer ends the program at once instead (planted_test.cc).
TEST(SharedMemory, NoticesWritesBehindItsEnd) {
  if (sanitizers::kAddress) GTEST_SKIP();

  RunWrong(32, "wrote behind the end of a shared array", [] {
    CODEGEN_SHARED(int, values, 32);
    int* const place = values;
    place[threadIdx.x + 1] = 1;
  });
}

TEST(SharedMemory, KnowsWhatLiesInIt) {
  SharedMemory memory(64, 0);
  auto* dynamic = static_cast<char*>(memory.dynamic());
  auto* array = static_cast<char*>(memory.Static(&memory, 10));
  const char outside = 0;

  EXPECT_TRUE(memory.Contains(dynamic, 64));
  EXPECT_TRUE(memory.Contains(dynamic + 48, 16));
  EXPECT_TRUE(memory.Contains(array + 9, 1));
  EXPECT_FALSE(memory.Contains(dynamic + 49, 16));
  EXPECT_FALSE(memory.Contains(array - 1, 2));
  EXPECT_FALSE(memory.Contains(&outside, 1));
}

TEST(CheckAligned, RefusesWhatADeviceFaultsOn) {
  alignas(16) static char bytes[32];

  RunCorrect(
      1, [] { cuda::CheckAligned(bytes + 16, 16); }, [] {});
  RunWrong(1, "vector access: the address is no multiple of 16",
           [] { cuda::CheckAligned(bytes + 8, 16); });
}

TEST(CachedAccess, LoadsAndStores) {
  float value = 1.5F;

  RunCorrect(
      1,
      [&] {
        EXPECT_EQ(__ldg(&value), 1.5F);
        __stcs(&value, 2.5F);
        EXPECT_EQ(__ldcs(&value) + __ldca(&value) + __ldcv(&value), 7.5F);
        __stcg(&value, 3.5F);
        EXPECT_EQ(__ldcg(&value), 3.5F);
        __stwt(&value, 1.5F);
      },
      [&] { EXPECT_EQ(value, 1.5F); });
}

}  // namespace
}  // namespace codegen::simt
