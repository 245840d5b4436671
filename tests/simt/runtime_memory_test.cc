// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "simt/runtime_calls.h"
#include "support/sanitizers.h"

namespace codegen::simt {
namespace {

using testing::Test;

class SimtMemory : public Test {
 protected:
  void SetUp() override { Reset(); }
};

TEST_F(SimtMemory, IsPoisonedAndAligned) {
  for (const unsigned char poison : {std::uint8_t{0xFF}, std::uint8_t{0x7B}}) {
    Reset({.poison = poison});

    const auto* data = DeviceArray<unsigned char>(1000);

    EXPECT_EQ(std::count(data, data + 1000, poison), 1000);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 256, 0U);
  }
}

TEST_F(SimtMemory, OfADeviceIsLimited) {
  Reset({.memory_bytes = 1000});
  void* data = nullptr;

  EXPECT_EQ(cudaMalloc(&data, 600), cudaSuccess);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 401), cudaErrorMemoryAllocation);
  EXPECT_EQ(more, nullptr);
  EXPECT_EQ(cudaMallocHost(&more, 5000), cudaSuccess) << "the host has its own";

  std::size_t free = 0;
  std::size_t total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(free, 400U);
  EXPECT_EQ(total, 1000U);
  EXPECT_EQ(cudaFree(data), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&data, 1000), cudaSuccess);
}

TEST_F(SimtMemory, OfEachDeviceIsItsOwn) {
  Reset({.devices = 2, .memory_bytes = 100});
  void* data = nullptr;

  EXPECT_EQ(cudaMalloc(&data, 100), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&data, 100), cudaSuccess);

  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
}

TEST_F(SimtMemory, OfNoBytesIsNull) {
  void* data = this;

  EXPECT_EQ(cudaMalloc(&data, 0), cudaSuccess);

  EXPECT_EQ(data, nullptr);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
}

TEST_F(SimtMemory, FreesOnlyWhatItGave) {
  int local = 0;
  auto* device = DeviceArray<int>(2);
  const std::span<int> pinned = PinnedArray<int>(2);

  EXPECT_EQ(cudaFree(&local), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(device + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(pinned.data()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(device), cudaErrorInvalidValue);
  EXPECT_EQ(Count().live_allocations, 2);

  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaFree(device), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(pinned.data()), cudaSuccess);
  EXPECT_EQ(Count().live_allocations, 0);
  EXPECT_EQ(Count().allocations, 2);
  EXPECT_EQ(Count().frees, 2);
}

TEST_F(SimtMemory, IsFreedWhenNothingRunsAnyMore) {
  std::vector<int> log;
  ASSERT_EQ(Append(MakeStream(), log, 1), cudaSuccess);

  EXPECT_EQ(cudaFree(DeviceArray<int>(1)), cudaSuccess);

  EXPECT_EQ(log, std::vector<int>{1});
}

TEST_F(SimtMemory, KnowsItsDeviceMemory) {
  auto* device = DeviceArray<char>(10);

  EXPECT_TRUE(IsDeviceMemory(device, 10));
  EXPECT_TRUE(IsDeviceMemory(device + 9, 1));
  EXPECT_FALSE(IsDeviceMemory(device + 1, 10));
  EXPECT_FALSE(IsDeviceMemory(PinnedArray<char>(10).data(), 1));
}

#ifdef CODEGEN_ASAN
TEST_F(SimtMemory, ShowsOverrunsToTheAddressSanitizer) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        volatile char* data = DeviceArray<char>(1001);
        data[1001] = 1;
      },
      "heap-buffer-overflow");
}
#endif

class SimtCopy : public SimtMemory {};

TEST_F(SimtCopy, ReadsPinnedMemoryOnlyWhenItRuns) {
  Reset({.pace = Pace::kLazy});
  const std::span<int> source = PinnedArray<int>(1);
  const std::span<int> result = PinnedArray<int>(1);
  auto* device = DeviceArray<int>(1);
  const cudaStream_t stream = MakeStream();

  source[0] = 1;
  ASSERT_EQ(cudaMemcpyAsync(device, source.data(), sizeof(int), cudaMemcpyHostToDevice, stream),
            cudaSuccess);
  source[0] = 2;  // the mistake that this finds
  ASSERT_EQ(cudaMemcpyAsync(result.data(), device, sizeof(int), cudaMemcpyDeviceToHost, stream),
            cudaSuccess);
  EXPECT_EQ(result[0], -1) << "poison";
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);

  EXPECT_EQ(result[0], 2);
  EXPECT_EQ(Count().copies, 2);
  EXPECT_EQ(Count().pageable_copies, 0);
}

TEST_F(SimtCopy, RunsAtOnceIfEager) {
  Reset({.pace = Pace::kEager});
  const std::span<int> pinned = PinnedArray<int>(1);
  auto* device = DeviceArray<int>(1);
  pinned[0] = 7;

  ASSERT_EQ(cudaMemcpyAsync(device, pinned.data(), sizeof(int), cudaMemcpyDefault, MakeStream()),
            cudaSuccess);

  EXPECT_EQ(*device, 7);
}

TEST_F(SimtCopy, TakesPageableSourcesAtOnceAndWaitsForPageableTargets) {
  Reset({.pace = Pace::kLazy});
  auto* device = DeviceArray<int>(1);
  const cudaStream_t stream = MakeStream();
  int source = 1;
  int result = 0;

  ASSERT_EQ(cudaMemcpyAsync(device, &source, sizeof(int), cudaMemcpyHostToDevice, stream),
            cudaSuccess);
  source = 2;
  ASSERT_EQ(cudaMemcpyAsync(&result, device, sizeof(int), cudaMemcpyDeviceToHost, stream),
            cudaSuccess);

  EXPECT_EQ(result, 1);
  EXPECT_EQ(Count().pageable_copies, 2);
}

TEST_F(SimtCopy, WithoutStreamIsDoneOnReturn) {
  for (const Pace pace : kPaces) {
    Reset({.pace = pace});
    auto* device = DeviceArray<int>(2);
    const std::array<int, 2> source = {1, 2};
    std::array<int, 2> result = {};

    EXPECT_EQ(cudaMemcpy(device, source.data(), 8, cudaMemcpyHostToDevice), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(result.data(), device, 8, cudaMemcpyDeviceToHost), cudaSuccess);

    EXPECT_EQ(result, source);
    EXPECT_EQ(Count().synchronizations, 2);
  }
}

TEST_F(SimtCopy, StaysWithinItsAllocations) {
  auto* device = DeviceArray<char>(10);
  const std::span<char> pinned = PinnedArray<char>(20);

  EXPECT_EQ(cudaMemcpyAsync(device, pinned.data(), 11, cudaMemcpyHostToDevice, nullptr),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(pinned.data() + 15, device, 6, cudaMemcpyDeviceToHost, nullptr),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(device, nullptr, 1, cudaMemcpyHostToDevice, nullptr),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(device + 5, 0, 6, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(pinned.data(), 0, 1, nullptr), cudaErrorInvalidValue);
}

TEST_F(SimtCopy, GoesInItsDirection) {
  auto* device = DeviceArray<char>(10);
  const std::span<char> pinned = PinnedArray<char>(10);

  EXPECT_EQ(cudaMemcpyAsync(device, pinned.data(), 1, cudaMemcpyDeviceToHost, nullptr),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemcpyAsync(pinned.data(), device, 1, cudaMemcpyHostToDevice, nullptr),
            cudaErrorInvalidMemcpyDirection);
}

TEST_F(SimtCopy, FillsMemory) {
  auto* device = DeviceArray<unsigned char>(10);
  const cudaStream_t stream = MakeStream();

  ASSERT_EQ(cudaMemsetAsync(device, 5, 9, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);

  EXPECT_EQ(std::vector<unsigned char>(device, device + 10),
            (std::vector<unsigned char>{5, 5, 5, 5, 5, 5, 5, 5, 5, 0xFF}));
}

}  // namespace
}  // namespace codegen::simt
