// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "simt/runtime_calls.h"

namespace codegen::simt {
namespace {

using Log = std::vector<int>;

// All paces with a few seeds.
std::vector<Settings> Habits() {
  std::vector<Settings> habits;
  for (const Pace pace : kPaces)
    for (std::uint64_t seed = 1; seed <= 10; ++seed) habits.push_back({.pace = pace, .seed = seed});
  return habits;
}

TEST(SimtStream, KeepsItsOrder) {
  for (const Settings& habit : Habits()) {
    Reset(habit);
    Log log;
    const cudaStream_t stream = MakeStream();

    for (int i = 0; i < 5; ++i) ASSERT_EQ(Append(stream, log, i), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);

    EXPECT_EQ(log, (Log{0, 1, 2, 3, 4}));
    EXPECT_EQ(Count().launches, 5);
    EXPECT_EQ(Count().synchronizations, 1);
  }
}

TEST(SimtStream, RunsNothingBeforeSomebodyWaits) {
  for (const Pace pace : {Pace::kLazy, Pace::kRandom}) {
    Reset({.pace = pace});
    Log log;

    ASSERT_EQ(Append(MakeStream(), log, 1), cudaSuccess);

    EXPECT_EQ(log, Log{});
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(log, Log{1});
  }
}

TEST(SimtStream, IfLazyLeavesOthersAlone) {
  Reset({.pace = Pace::kLazy});
  Log log;
  ASSERT_EQ(Append(MakeStream(), log, 1), cudaSuccess);
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Append(stream, log, 2), cudaSuccess);

  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);

  EXPECT_EQ(log, Log{2}) << "an event is missing, and this shows it";
}

TEST(SimtStream, MixesWithOthersAtRandom) {
  std::set<Log> logs;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Reset({.pace = Pace::kRandom, .seed = seed});
    Log log;
    const cudaStream_t streams[] = {MakeStream(), MakeStream()};
    for (const int i : {0, 1}) {
      ASSERT_EQ(Append(streams[0], log, i), cudaSuccess);
      ASSERT_EQ(Append(streams[1], log, 10 + i), cudaSuccess);
    }
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    logs.insert(log);
  }

  EXPECT_EQ(logs.size(), 6U) << "all ways to merge 0 1 with 10 11";
}

TEST(SimtStream, WaitsForEventsOfOthers) {
  for (const Settings& habit : Habits()) {
    Reset(habit);
    Log log;
    const cudaStream_t producer = MakeStream();
    const cudaStream_t consumer = MakeStream();
    const cudaEvent_t event = MakeEvent();
    ASSERT_EQ(Append(producer, log, 1), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(event, producer), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(consumer, event, 0), cudaSuccess);
    ASSERT_EQ(Append(consumer, log, 2), cudaSuccess);

    ASSERT_EQ(cudaStreamSynchronize(consumer), cudaSuccess);

    EXPECT_EQ(log, (Log{1, 2}));
  }
}

TEST(SimtStream, WaitsForTheDefaultStreamAndThatForIt) {
  for (const Settings& habit : Habits()) {
    Reset(habit);
    Log log;
    const cudaStream_t stream = MakeStream(cudaStreamDefault);
    ASSERT_EQ(Append(stream, log, 1), cudaSuccess);
    ASSERT_EQ(Append(nullptr, log, 2), cudaSuccess);
    ASSERT_EQ(Append(stream, log, 3), cudaSuccess);

    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);

    EXPECT_EQ(log, (Log{1, 2, 3}));
  }
}

TEST(SimtStream, ThatDoesNotBlockIgnoresTheDefaultStream) {
  Reset({.pace = Pace::kLazy});
  Log log;
  const cudaStream_t stream = MakeStream(cudaStreamNonBlocking);
  ASSERT_EQ(Append(nullptr, log, 1), cudaSuccess);
  ASSERT_EQ(Append(stream, log, 2), cudaSuccess);

  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);

  EXPECT_EQ(log, Log{2});
}

TEST(SimtStream, GetsOnWhileItIsPolled) {
  for (const Settings& habit : Habits()) {
    Reset(habit);
    Log log;
    const cudaStream_t stream = MakeStream();
    for (int i = 0; i < 3; ++i) ASSERT_EQ(Append(stream, log, i), cudaSuccess);

    cudaError_t state = cudaErrorNotReady;
    for (int polls = 0; polls < 4 && state == cudaErrorNotReady; ++polls)
      state = cudaStreamQuery(stream);

    EXPECT_EQ(state, cudaSuccess);
    EXPECT_EQ(log, (Log{0, 1, 2}));
  }
}

TEST(SimtStream, DoesWhatItHoldsAfterItsEnd) {
  Reset();
  Log log;
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Append(stream, log, 1), cudaSuccess);

  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);

  EXPECT_EQ(log, Log{1});
  EXPECT_EQ(Append(stream, log, 2), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(Count().live_streams, 0);
}

TEST(SimtStream, CallsHostFunctionsInOrder) {
  Reset();
  Log log;
  const cudaStream_t stream = MakeStream();
  const auto append_two = [](void* data) { static_cast<Log*>(data)->push_back(2); };

  ASSERT_EQ(Append(stream, log, 1), cudaSuccess);
  ASSERT_EQ(cudaLaunchHostFunc(stream, append_two, &log), cudaSuccess);
  ASSERT_EQ(Append(stream, log, 3), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);

  EXPECT_EQ(log, (Log{1, 2, 3}));
  EXPECT_EQ(Count().host_functions, 1);
}

TEST(SimtStream, RefusesCallsFromHostFunctions) {
  Reset();
  cudaError_t error = cudaSuccess;
  const auto call = [](void* data) {
    *static_cast<cudaError_t*>(data) = cudaStreamSynchronize(nullptr);
  };

  ASSERT_EQ(cudaLaunchHostFunc(nullptr, call, &error), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);

  EXPECT_EQ(error, cudaErrorNotPermitted);
}

// A host function may take a lock that another thread holds while it puts work into streams.
TEST(SimtStream, RunsWorkWithoutLocksOfItsOwn) {
  Reset();
  std::mutex mutex;
  std::atomic<bool> entered = false;
  Log log;
  const auto lock = [&] {
    entered = true;
    const std::lock_guard guard(mutex);
  };
  const cudaStream_t stream = MakeStream();
  ASSERT_EQ(Enqueue(stream, lock, "lock"), cudaSuccess);

  std::unique_lock guard(mutex);
  std::thread waiter([stream] { EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess); });
  while (!entered) std::this_thread::yield();
  EXPECT_EQ(Append(stream, log, 1), cudaSuccess);
  guard.unlock();
  waiter.join();

  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(log, Log{1});
}

TEST(SimtStream, MayBeWaitedForByManyThreads) {
  for (const Pace pace : kPaces) {
    Reset({.pace = pace});
    constexpr int kThreads = 4;
    std::vector<Log> logs(kThreads);
    std::vector<std::thread> threads;
    for (Log& log : logs) {
      threads.emplace_back([&log] {
        const cudaStream_t stream = MakeStream();
        for (int i = 0; i < 50; ++i) {
          EXPECT_EQ(Append(stream, log, i), cudaSuccess);
          EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
          EXPECT_EQ(log.size(), static_cast<std::size_t>(i) + 1);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(SimtEvent, IsReachedUnlessSomethingIsBeforeIt) {
  Reset({.pace = Pace::kLazy});
  Log log;
  const cudaEvent_t event = MakeEvent();
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess) << "never recorded";

  ASSERT_EQ(Append(nullptr, log, 1), cudaSuccess);
  ASSERT_EQ(Append(nullptr, log, 2), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, nullptr), cudaSuccess);
  ASSERT_EQ(Append(nullptr, log, 3), cudaSuccess);

  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(log, (Log{1, 2}));
}

TEST(SimtEvent, ReadsThePretendClock) {
  for (const Settings& habit : Habits()) {
    Reset(habit);
    const cudaStream_t stream = MakeStream();
    const cudaEvent_t from = MakeEvent();
    const cudaEvent_t to = MakeEvent();
    const auto spend = [] { SpendDeviceTime(std::chrono::microseconds(2999)); };

    ASSERT_EQ(cudaEventRecord(from, stream), cudaSuccess);
    ASSERT_EQ(Enqueue(stream, spend, "spend"), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(to, stream), cudaSuccess);
    ASSERT_EQ(cudaEventSynchronize(to), cudaSuccess);
    float milliseconds = 0;
    ASSERT_EQ(cudaEventElapsedTime(&milliseconds, from, to), cudaSuccess);

    EXPECT_FLOAT_EQ(milliseconds, 3.001F) << "a microsecond for the first event, one for the work";
  }
}

TEST(SimtEvent, HasNoTimeUnlessRecordedAndReached) {
  Reset({.pace = Pace::kLazy});
  float milliseconds = 0;
  const cudaEvent_t timed = MakeEvent();
  const cudaEvent_t untimed = MakeEvent(cudaEventDisableTiming);

  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, timed, timed), cudaErrorInvalidResourceHandle);
  ASSERT_EQ(cudaEventRecord(timed, nullptr), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(untimed, nullptr), cudaSuccess);

  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, timed, timed), cudaErrorNotReady);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, untimed, timed), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, timed, timed), cudaSuccess);
}

}  // namespace
}  // namespace codegen::simt
