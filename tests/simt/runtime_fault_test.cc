// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "simt/runtime_calls.h"

namespace codegen::simt {
namespace {

using Log = std::vector<int>;

class SimtFault : public testing::Test {
 protected:
  void SetUp() override { Reset(); }
  void TearDown() override { Reset(); }
};

TEST_F(SimtFault, HitsTheNthAllocationOnce) {
  Inject({.call = Call::kAllocate, .nth = 2, .error = cudaErrorMemoryAllocation});
  void* data = nullptr;

  EXPECT_EQ(cudaMalloc(&data, 1), cudaSuccess);
  EXPECT_TRUE(HasPendingFaults());
  EXPECT_EQ(cudaMallocHost(&data, 1), cudaErrorMemoryAllocation);
  EXPECT_FALSE(HasPendingFaults());
  EXPECT_EQ(cudaMalloc(&data, 1), cudaSuccess);
  EXPECT_EQ(Count().allocations, 2);
}

TEST_F(SimtFault, HitsTheNthLaunchOnly) {
  Inject({.call = Call::kLaunch, .nth = 2, .error = cudaErrorLaunchOutOfResources});
  Log log;

  EXPECT_EQ(Append(nullptr, log, 1), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(DeviceArray<int>(1), 0, 4, nullptr), cudaSuccess);
  EXPECT_EQ(Append(nullptr, log, 2), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(Append(nullptr, log, 3), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(log, (Log{1, 3}));
}

TEST_F(SimtFault, HitsTheNthOfAllCallsButNoRelease) {
  const cudaStream_t stream = MakeStream();
  Inject({.nth = 2, .error = cudaErrorUnknown});

  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  int device = 0;
  EXPECT_EQ(cudaGetDevice(&device), cudaErrorUnknown);
}

TEST_F(SimtFault, IfStickyBreaksEverything) {
  Log log;
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Append(stream, log, 1), cudaSuccess);
  Inject({.call = Call::kSynchronize,
          .error = cudaErrorECCUncorrectable,
          .lasting = Lasting::kSticky});

  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorECCUncorrectable);

  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, 1), cudaErrorECCUncorrectable);
  EXPECT_EQ(Append(stream, log, 2), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaGetLastError(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaGetLastError(), cudaErrorECCUncorrectable) << "asking does not heal";
  EXPECT_EQ(log, Log{}) << "what was pending is lost";
}

TEST_F(SimtFault, OfAKernelIsSeenByWhoeverWaits) {
  for (const Pace pace : {Pace::kLazy, Pace::kRandom}) {
    Reset({.pace = pace});
    Log log;
    const cudaStream_t stream = MakeStream();
    const auto fail = [] { ReportFault(cudaErrorLaunchFailure); };

    ASSERT_EQ(Enqueue(stream, fail, "fail"), cudaSuccess);
    ASSERT_EQ(Append(stream, log, 1), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorLaunchFailure);

    EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorLaunchFailure);
    EXPECT_EQ(log, Log{});
    Reset();
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << "a new process";
  }
}

TEST_F(SimtFault, LeavesReleasesToDoTheirWork) {
  const cudaStream_t stream = MakeStream();
  const cudaEvent_t event = MakeEvent();
  auto* device = DeviceArray<int>(1);
  const std::span<int> pinned = PinnedArray<int>(1);
  Inject({.error = cudaErrorIllegalAddress, .lasting = Lasting::kSticky});
  ASSERT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);

  EXPECT_EQ(cudaFree(device), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaFreeHost(pinned.data()), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaEventDestroy(event), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorIllegalAddress);

  EXPECT_EQ(Count().live_allocations, 0);
  EXPECT_EQ(Count().live_events, 0);
  EXPECT_EQ(Count().live_streams, 0);
}

TEST_F(SimtFault, EndsACaptureThatCannotBeEnded) {
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  Inject({.error = cudaErrorUnknown});
  cudaGraph_t graph = nullptr;

  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorUnknown);

  EXPECT_EQ(graph, nullptr);
  EXPECT_EQ(Count().live_graphs, 0);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
}

TEST_F(SimtFault, KeepsTheLastErrorOfEachThread) {
  EXPECT_EQ(cudaFree(this), cudaErrorInvalidValue);

  std::thread([] { EXPECT_EQ(cudaGetLastError(), cudaSuccess); }).join();

  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(SimtDevice, LooksLikeAnH200) {
  Reset({.memory_bytes = 12345});
  cudaDeviceProp properties = {};
  int processors = 0;

  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  ASSERT_EQ(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0), cudaSuccess);

  EXPECT_EQ(properties.major, 9);
  EXPECT_EQ(properties.totalGlobalMem, 12345U);
  EXPECT_EQ(properties.sharedMemPerBlockOptin, 227U * 1024);
  EXPECT_EQ(processors, 132);
}

TEST(SimtDevice, IsOneOfThoseThatAreThere) {
  Reset({.devices = 2});
  int count = 0;
  int device = -1;

  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 2);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(-1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  std::thread([] {
    int other = -1;
    EXPECT_EQ(cudaGetDevice(&other), cudaSuccess);
    EXPECT_EQ(other, 0) << "each thread has its own";
  }).join();
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 1);
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
}

TEST(SimtDevice, MayBeMissing) {
  Reset({.driver = Driver::kNoDevice});
  int count = -1;

  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);

  EXPECT_EQ(count, 0);
  Reset();
}

TEST(SimtDevice, MayLackADriver) {
  for (const auto& [driver, expected] :
       {std::pair(Driver::kTooOld, 12040), {Driver::kMissing, 0}}) {
    Reset({.driver = driver});
    cudaStream_t stream = nullptr;
    int version = -1;

    EXPECT_EQ(cudaStreamCreate(&stream), cudaErrorInsufficientDriver);
    EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);

    EXPECT_EQ(version, expected);
  }
  Reset();
}

TEST(SimtDevice, GivesMoreSharedMemoryWhenAsked) {
  Reset();
  const auto* function = reinterpret_cast<const void*>(&MakeStream);
  const auto set = [function](int bytes) {
    return cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  };

  EXPECT_EQ(DynamicSharedLimit(function), 48U * 1024);
  EXPECT_EQ(set(227 * 1024 + 1), cudaErrorInvalidValue);
  EXPECT_EQ(set(227 * 1024), cudaSuccess);
  EXPECT_EQ(DynamicSharedLimit(function), 227U * 1024);
  EXPECT_EQ(DynamicSharedLimit(this), 48U * 1024);
}

TEST(SimtError, HasANameAndWords) {
  EXPECT_EQ(std::string(cudaGetErrorName(cudaErrorMemoryAllocation)), "cudaErrorMemoryAllocation");
  EXPECT_EQ(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)), "out of memory");
  EXPECT_EQ(std::string(cudaGetErrorName(static_cast<cudaError_t>(12345))),
            "unrecognized error code");
}

}  // namespace
}  // namespace codegen::simt
