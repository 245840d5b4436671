// SPDX-License-Identifier: Apache-2.0
#include "cuda/stream.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "support/simt/runtime/control.h"
#include "support/simt/runtime/streams.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

void Put(cudaStream_t stream, std::vector<int>& log, int number) {
  const auto work = [&log, number] { log.push_back(number); };
  EXPECT_EQ(simt::Enqueue(stream, work, "put"), cudaSuccess);
}

TEST(Stream, IsDoneWhenSynchronized) {
  simt::Reset();
  std::vector<int> log;
  const absl::StatusOr<Stream> stream = Stream::Create();
  ASSERT_THAT(stream, IsOk());

  Put(stream->get(), log, 1);
  EXPECT_THAT(stream->Synchronize(), IsOk());

  EXPECT_EQ(log, std::vector<int>{1});
}

TEST(Stream, DoesNotWaitForTheDefaultStream) {
  simt::Reset({.pace = simt::Pace::kLazy});
  std::vector<int> log;
  const absl::StatusOr<Stream> stream = Stream::Create();
  ASSERT_THAT(stream, IsOk());

  Put(nullptr, log, 1);
  Put(stream->get(), log, 2);
  EXPECT_THAT(stream->Synchronize(), IsOk());

  EXPECT_EQ(log, std::vector<int>{2});
}

TEST(Stream, WaitsForAnEvent) {
  simt::Reset({.pace = simt::Pace::kLazy});
  std::vector<int> log;
  const absl::StatusOr<Stream> producer = Stream::Create();
  const absl::StatusOr<Stream> consumer = Stream::Create();
  const absl::StatusOr<Event> event = Event::Create(EventUse::kOrder);

  Put(producer->get(), log, 1);
  EXPECT_THAT(event->Record(*producer), IsOk());
  EXPECT_THAT(consumer->WaitFor(*event), IsOk());
  Put(consumer->get(), log, 2);
  EXPECT_THAT(consumer->Synchronize(), IsOk());

  EXPECT_EQ(log, (std::vector<int>{1, 2}));
}

TEST(Stream, IsDestroyedOnce) {
  simt::Reset();
  {
    absl::StatusOr<Stream> stream = Stream::Create();
    const Stream moved = *std::move(stream);
    EXPECT_EQ(simt::Count().live_streams, 1);
  }

  EXPECT_EQ(simt::Count().live_streams, 0);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Stream, ReportsALostDevice) {
  simt::Reset();
  const absl::StatusOr<Stream> stream = Stream::Create();
  ASSERT_THAT(stream, IsOk());
  const auto fail = [] { simt::ReportFault(cudaErrorLaunchFailure); };

  ASSERT_EQ(simt::Enqueue(stream->get(), fail, "fail"), cudaSuccess);

  EXPECT_THAT(stream->Synchronize(),
              StatusIs(absl::StatusCode::kUnavailable, "cudaErrorLaunchFailure"));
  EXPECT_THAT(Stream::Create(), StatusIs(absl::StatusCode::kUnavailable));
  simt::Reset();
}

}  // namespace
}  // namespace codegen::cuda
