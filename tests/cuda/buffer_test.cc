// SPDX-License-Identifier: Apache-2.0
#include "cuda/buffer.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "support/simt/runtime/control.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

TEST(MemoryBudget, GivesWhatItHas) {
  MemoryBudget budget(100);

  EXPECT_THAT(budget.Take(60), IsOk());
  EXPECT_THAT(budget.Take(41), StatusIs(absl::StatusCode::kResourceExhausted,
                                        "41 bytes of GPU memory wanted, 40 of the 100"));
  EXPECT_THAT(budget.Take(40), IsOk());
  EXPECT_EQ(budget.free_bytes(), 0);
  budget.Return(60);

  EXPECT_EQ(budget.free_bytes(), 60);
  EXPECT_EQ(budget.bytes(), 100);
}

TEST(MemoryBudget, NeverGivesMoreToManyThreads) {
  MemoryBudget budget(1000);
  std::atomic<int> taken = 0;
  std::vector<std::thread> threads;

  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 500; ++j) taken += budget.Take(1).ok() ? 1 : 0;
    });
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(taken, 1000);
  EXPECT_EQ(budget.free_bytes(), 0);
}

TEST(DeviceBuffer, TakesAndReturnsItsBytes) {
  simt::Reset();
  MemoryBudget budget(1000);

  {
    const absl::StatusOr<DeviceBuffer> buffer = DeviceBuffer::Create(budget, 600);
    ASSERT_THAT(buffer, IsOk());
    EXPECT_EQ(buffer->bytes(), 600);
    EXPECT_EQ(budget.free_bytes(), 400);
    EXPECT_EQ(simt::Count().live_allocations, 1);
    EXPECT_THAT(DeviceBuffer::Create(budget, 401), StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(budget.free_bytes(), 400);
  }

  EXPECT_EQ(budget.free_bytes(), 1000);
  EXPECT_EQ(simt::Count().live_allocations, 0);
}

TEST(DeviceBuffer, ReturnsItsBytesWhenTheDeviceHasNone) {
  simt::Reset({.memory_bytes = 500});
  MemoryBudget budget(1000);

  EXPECT_THAT(DeviceBuffer::Create(budget, 600),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       "allocating 600 bytes of GPU memory; 500 of its 500 bytes are free: out of "
                       "memory (cudaErrorMemoryAllocation)"));

  EXPECT_EQ(budget.free_bytes(), 1000);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(DeviceBuffer, OwnsOnceWhenMoved) {
  simt::Reset();
  MemoryBudget small(100);
  MemoryBudget large(1000);
  absl::StatusOr<DeviceBuffer> first = DeviceBuffer::Create(small, 100);
  absl::StatusOr<DeviceBuffer> second = DeviceBuffer::Create(large, 1000);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  std::byte* const data = first->data();

  *second = *std::move(first);

  EXPECT_EQ(second->data(), data);
  EXPECT_EQ(second->bytes(), 100);
  EXPECT_EQ(first->bytes(), 0);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(small.free_bytes(), 0);
  EXPECT_EQ(large.free_bytes(), 1000);
  *second = DeviceBuffer();
  EXPECT_EQ(small.free_bytes(), 100);
  EXPECT_EQ(simt::Count().live_allocations, 0);
}

TEST(DeviceBuffer, OfNoBytesTakesNothing) {
  simt::Reset();
  MemoryBudget budget(0);

  const absl::StatusOr<DeviceBuffer> buffer = DeviceBuffer::Create(budget, 0);

  ASSERT_THAT(buffer, IsOk());
  EXPECT_EQ(buffer->data(), nullptr);
  EXPECT_EQ(buffer->bytes(), 0);
}

TEST(DeviceBuffer, ReturnsItsBytesOnABrokenDevice) {
  simt::Reset();
  MemoryBudget budget(100);
  absl::StatusOr<DeviceBuffer> buffer = DeviceBuffer::Create(budget, 100);
  ASSERT_THAT(buffer, IsOk());
  simt::Inject({.error = cudaErrorIllegalAddress, .lasting = simt::Lasting::kSticky});

  EXPECT_THAT(PinnedBuffer::Create(1), StatusIs(absl::StatusCode::kUnavailable));
  *buffer = DeviceBuffer();

  EXPECT_EQ(budget.free_bytes(), 100);
  simt::Reset();
}

TEST(PinnedBuffer, IsReachedByCopiesWithoutStaging) {
  simt::Reset();
  MemoryBudget budget(100);
  const absl::StatusOr<DeviceBuffer> device = DeviceBuffer::Create(budget, 12);
  const absl::StatusOr<PinnedBuffer> pinned = PinnedBuffer::Create(12);
  ASSERT_THAT(device, IsOk());
  ASSERT_THAT(pinned, IsOk());
  EXPECT_EQ(pinned->as<int>().size(), 3U);
  EXPECT_EQ(pinned->as<double>().size(), 1U);
  pinned->as<int>()[2] = 7;

  ASSERT_EQ(cudaMemcpyAsync(device->data(), pinned->data(), 12, cudaMemcpyHostToDevice, nullptr),
            cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);

  EXPECT_EQ(device->as<int>()[2], 7);
  EXPECT_EQ(simt::Count().pageable_copies, 0);
}

TEST(PinnedBuffer, MayBeRefused) {
  simt::Reset();
  simt::Inject({.call = simt::Call::kAllocate, .error = cudaErrorMemoryAllocation});

  EXPECT_THAT(PinnedBuffer::Create(12), StatusIs(absl::StatusCode::kResourceExhausted,
                                                 "allocating 12 bytes of pinned memory"));

  EXPECT_EQ(simt::Count().live_allocations, 0);
}

}  // namespace
}  // namespace codegen::cuda
