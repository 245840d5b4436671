// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "simt/runtime_calls.h"

namespace codegen::simt {
namespace {

using Log = std::vector<int>;

cudaError_t Begin(cudaStream_t stream,
                  cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
  return cudaStreamBeginCapture(stream, mode);
}

cudaError_t End(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  return cudaStreamEndCapture(stream, &graph);
}

// Ends the capture and makes what it recorded executable.
cudaGraphExec_t Finish(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  return executable;
}

// Spoils a capture by `mistake` and expects what CUDA says: `error` at once, the whole capture
// invalid, and a stream that is usable again.
template <class Mistake>
void ExpectSpoils(cudaError_t error, Mistake mistake) {
  Log log;
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Begin(stream), cudaSuccess);

  EXPECT_EQ(mistake(stream), error);

  EXPECT_EQ(Append(stream, log, 1), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(End(stream), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(Append(stream, log, 2), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(log, Log{2});
}

class SimtGraph : public testing::Test {
 protected:
  void SetUp() override { Reset(); }
};

TEST_F(SimtGraph, RunsOnlyWhenItIsLaunched) {
  Log log;
  const cudaStream_t stream = MakeStream();

  ASSERT_EQ(Begin(stream), cudaSuccess);
  ASSERT_EQ(Append(stream, log, 1), cudaSuccess);
  ASSERT_EQ(Append(stream, log, 2), cudaSuccess);
  const cudaGraphExec_t graph = Finish(stream);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(log, Log{});

  ASSERT_EQ(cudaGraphLaunch(graph, stream), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(graph, stream), cudaSuccess);
  ASSERT_EQ(Append(stream, log, 3), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(log, (Log{1, 2, 1, 2, 3}));
  EXPECT_EQ(Count().graph_launches, 2);
  EXPECT_EQ(Count().launches, 1);

  EXPECT_EQ(cudaGraphExecDestroy(graph), cudaSuccess);
  EXPECT_EQ(Count().live_graphs, 0);
}

TEST_F(SimtGraph, RecordsBranchesThatJoin) {
  std::set<Log> logs;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Reset({.seed = seed});
    Log log;
    const cudaStream_t stream = MakeStream();
    const cudaStream_t branch = MakeStream();
    const cudaEvent_t fork = MakeEvent();
    const cudaEvent_t join = MakeEvent();
    ASSERT_EQ(Begin(stream), cudaSuccess);
    ASSERT_EQ(Append(stream, log, 1), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(fork, stream), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(branch, fork, 0), cudaSuccess);
    ASSERT_EQ(Append(branch, log, 2), cudaSuccess);
    ASSERT_EQ(Append(stream, log, 3), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(join, branch), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(stream, join, 0), cudaSuccess);
    ASSERT_EQ(Append(stream, log, 4), cudaSuccess);
    const cudaGraphExec_t graph = Finish(stream);

    ASSERT_EQ(cudaGraphLaunch(graph, stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    logs.insert(log);
  }

  EXPECT_EQ(logs, (std::set<Log>{{1, 2, 3, 4}, {1, 3, 2, 4}}));
}

TEST_F(SimtGraph, WaitsForItsPreviousLaunchInAnotherStream) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Reset({.seed = seed});
    Log log;
    const cudaStream_t stream = MakeStream();
    ASSERT_EQ(Begin(stream), cudaSuccess);
    ASSERT_EQ(Append(stream, log, 1), cudaSuccess);
    ASSERT_EQ(Append(stream, log, 2), cudaSuccess);
    const cudaGraphExec_t graph = Finish(stream);

    ASSERT_EQ(cudaGraphLaunch(graph, stream), cudaSuccess);
    ASSERT_EQ(cudaGraphLaunch(graph, MakeStream()), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);

    EXPECT_EQ(log, (Log{1, 2, 1, 2}));
  }
}

TEST_F(SimtGraph, CopiesWhatLiesThereWhenItRuns) {
  const std::span<int> pinned = PinnedArray<int>(1);
  auto* device = DeviceArray<int>(1);
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Begin(stream), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(device, pinned.data(), 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
  const cudaGraphExec_t graph = Finish(stream);

  for (const int value : {1, 2}) {
    pinned[0] = value;
    ASSERT_EQ(cudaGraphLaunch(graph, stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(*device, value);
  }
}

// Records `work` on memory of a device, frees that, and expects what a launch then does.
template <class Work>
void ExpectFaultsWithoutMemory(Work work) {
  Reset();
  auto* device = DeviceArray<int>(1);
  const std::span<int> pinned = PinnedArray<int>(1);
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Begin(stream), cudaSuccess);
  ASSERT_EQ(work(device, pinned.data(), stream), cudaSuccess);
  const cudaGraphExec_t graph = Finish(stream);
  ASSERT_EQ(cudaFree(device), cudaSuccess);

  ASSERT_EQ(cudaGraphLaunch(graph, stream), cudaSuccess);

  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
}

TEST_F(SimtGraph, FaultsWhenItsMemoryIsGone) {
  ExpectFaultsWithoutMemory([](int* device, int* /*pinned*/, cudaStream_t stream) {
    return cudaMemsetAsync(device, 0, 4, stream);
  });
  ExpectFaultsWithoutMemory([](int* device, int* pinned, cudaStream_t stream) {
    return cudaMemcpyAsync(pinned, device, 4, cudaMemcpyDeviceToHost, stream);
  });
}

TEST_F(SimtGraph, IsSpoiltByWaiting) {
  ExpectSpoils(cudaErrorStreamCaptureUnsupported,
               [](cudaStream_t stream) { return cudaStreamSynchronize(stream); });
  ExpectSpoils(cudaErrorStreamCaptureUnsupported,
               [](cudaStream_t stream) { return cudaStreamQuery(stream); });
  ExpectSpoils(cudaErrorStreamCaptureUnsupported,
               [](cudaStream_t /*stream*/) { return cudaDeviceSynchronize(); });
  ExpectSpoils(cudaErrorStreamCaptureUnsupported,
               [](cudaStream_t /*stream*/) { return cudaEventQuery(MakeEvent()); });
}

TEST_F(SimtGraph, IsSpoiltByAllocating) {
  void* data = nullptr;
  auto* device = DeviceArray<int>(1);

  ExpectSpoils(cudaErrorStreamCaptureUnsupported,
               [&](cudaStream_t /*stream*/) { return cudaMalloc(&data, 1); });
  ExpectSpoils(cudaErrorStreamCaptureUnsupported,
               [&](cudaStream_t /*stream*/) { return cudaMallocHost(&data, 1); });
  ExpectSpoils(cudaErrorStreamCaptureUnsupported,
               [&](cudaStream_t /*stream*/) { return cudaFree(device); });
}

TEST_F(SimtGraph, IsSpoiltByPageableMemory) {
  auto* device = DeviceArray<int>(1);
  int pageable = 0;

  ExpectSpoils(cudaErrorStreamCaptureUnsupported, [&](cudaStream_t stream) {
    return cudaMemcpyAsync(device, &pageable, 4, cudaMemcpyHostToDevice, stream);
  });
  ExpectSpoils(cudaErrorStreamCaptureUnsupported, [&](cudaStream_t stream) {
    return cudaMemcpyAsync(&pageable, device, 4, cudaMemcpyDeviceToHost, stream);
  });
}

TEST_F(SimtGraph, IsSpoiltByEventsFromOutside) {
  const cudaEvent_t event = MakeEvent();
  ASSERT_EQ(cudaEventRecord(event, nullptr), cudaSuccess);

  ExpectSpoils(cudaErrorStreamCaptureIsolation,
               [event](cudaStream_t stream) { return cudaStreamWaitEvent(stream, event, 0); });
}

TEST_F(SimtGraph, IsSpoiltByAskingForItsEvents) {
  const cudaEvent_t event = MakeEvent();
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Begin(stream, cudaStreamCaptureModeRelaxed), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, stream), cudaSuccess);

  EXPECT_EQ(cudaEventQuery(event), cudaErrorCapturedEvent);

  EXPECT_EQ(End(stream), cudaErrorStreamCaptureInvalidated);
}

TEST_F(SimtGraph, IsSpoiltByTheDefaultStreamIfItsOwnBlocks) {
  Log log;
  const cudaStream_t stream = MakeStream(cudaStreamDefault);
  ASSERT_EQ(Begin(stream), cudaSuccess);

  EXPECT_EQ(Append(nullptr, log, 1), cudaErrorStreamCaptureImplicit);

  EXPECT_EQ(End(stream), cudaErrorStreamCaptureInvalidated);
}

TEST_F(SimtGraph, HasToJoinAllBranches) {
  Log log;
  const cudaStream_t stream = MakeStream();
  const cudaStream_t branch = MakeStream();
  const cudaEvent_t fork = MakeEvent();
  ASSERT_EQ(Begin(stream), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(fork, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(branch, fork, 0), cudaSuccess);
  ASSERT_EQ(Append(branch, log, 1), cudaSuccess);

  EXPECT_EQ(End(branch), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(End(stream), cudaErrorStreamCaptureUnjoined);

  EXPECT_EQ(Append(branch, log, 2), cudaSuccess) << "is released";
  EXPECT_EQ(cudaStreamSynchronize(branch), cudaSuccess);
  EXPECT_EQ(log, Log{2});
}

TEST_F(SimtGraph, OfThisThreadDoesNotConcernOthers) {
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Begin(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  cudaError_t allocated = cudaErrorUnknown;
  cudaError_t ended = cudaErrorUnknown;

  std::thread([&] {
    void* data = nullptr;
    allocated = cudaMalloc(&data, 1);
    ended = End(stream);
  }).join();

  EXPECT_EQ(allocated, cudaSuccess);
  EXPECT_EQ(ended, cudaErrorStreamCaptureWrongThread);
  EXPECT_EQ(End(stream), cudaSuccess);
}

TEST_F(SimtGraph, OfTheWholeProcessConcernsEveryThread) {
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Begin(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  cudaError_t polled = cudaErrorUnknown;

  std::thread([&] { polled = cudaEventQuery(MakeEvent()); }).join();

  EXPECT_EQ(polled, cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(End(stream), cudaErrorStreamCaptureInvalidated);
}

TEST_F(SimtGraph, IsNotBegunTwiceNorEndedUnbegun) {
  const cudaStream_t stream = MakeStream();

  EXPECT_EQ(End(stream), cudaErrorIllegalState);
  EXPECT_EQ(Begin(nullptr), cudaErrorStreamCaptureUnsupported);
  ASSERT_EQ(Begin(stream), cudaSuccess);
  EXPECT_EQ(Begin(stream), cudaErrorIllegalState);
  EXPECT_EQ(End(stream), cudaSuccess);
}

}  // namespace
}  // namespace codegen::simt
