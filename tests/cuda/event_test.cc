// SPDX-License-Identifier: Apache-2.0
#include "cuda/event.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <chrono>

#include "cuda/stream.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/streams.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

TEST(Event, IsReachedOnceEverythingBeforeItIsDone) {
  simt::Reset({.pace = simt::Pace::kLazy});
  const absl::StatusOr<Stream> stream = Stream::Create();
  const absl::StatusOr<Event> event = Event::Create(EventUse::kOrder);
  bool done = false;
  EXPECT_EQ(*event->IsReached(), true);

  ASSERT_EQ(simt::Enqueue(
                stream->get(), [&done] { done = true; }, "work"),
            cudaSuccess);
  EXPECT_THAT(event->Record(*stream), IsOk());
  EXPECT_EQ(*event->IsReached(), false);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "not to be reached yet is no error";
  EXPECT_THAT(event->Synchronize(), IsOk());

  EXPECT_EQ(*event->IsReached(), true);
  EXPECT_TRUE(done);
}

TEST(Event, TellsTheTimeBetween) {
  simt::Reset();
  const absl::StatusOr<Stream> stream = Stream::Create();
  const absl::StatusOr<Event> from = Event::Create(EventUse::kTiming);
  const absl::StatusOr<Event> to = Event::Create(EventUse::kTiming);
  const auto spend = [] { simt::SpendDeviceTime(std::chrono::microseconds(1998)); };

  EXPECT_THAT(from->Record(*stream), IsOk());
  ASSERT_EQ(simt::Enqueue(stream->get(), spend, "spend"), cudaSuccess);
  EXPECT_THAT(to->Record(*stream), IsOk());
  EXPECT_THAT(to->Synchronize(), IsOk());

  EXPECT_NEAR(ElapsedBetween(*from, *to)->count(), 2e-3, 1e-9);
}

TEST(Event, HasNoTimeUnlessMadeForTiming) {
  simt::Reset();
  const absl::StatusOr<Stream> stream = Stream::Create();
  const absl::StatusOr<Event> event = Event::Create(EventUse::kOrder);
  EXPECT_THAT(event->Record(*stream), IsOk());
  EXPECT_THAT(event->Synchronize(), IsOk());

  EXPECT_THAT(ElapsedBetween(*event, *event), StatusIs(absl::StatusCode::kInternal));
}

TEST(Event, ReportsALostDevice) {
  simt::Reset();
  const absl::StatusOr<Event> event = Event::Create(EventUse::kOrder);
  ASSERT_THAT(event, IsOk());
  simt::Inject({.error = cudaErrorECCUncorrectable, .lasting = simt::Lasting::kSticky});

  EXPECT_THAT(event->IsReached(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(event->Synchronize(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Event::Create(EventUse::kOrder), StatusIs(absl::StatusCode::kUnavailable));
  simt::Reset();
}

}  // namespace
}  // namespace codegen::cuda
