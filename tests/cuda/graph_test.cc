// SPDX-License-Identifier: Apache-2.0
#include "cuda/graph.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/buffer.h"
#include "cuda/check.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/streams.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

class GraphTest : public ::testing::Test {
 protected:
  void SetUp() override {
    simt::Reset();
    absl::StatusOr<Stream> stream = Stream::Create();
    ASSERT_THAT(stream, IsOk());
    stream_.emplace(*std::move(stream));
  }
  void TearDown() override {
    stream_.reset();
    simt::Reset();
  }

  absl::Status PutNumber(int number) {
    return Check(simt::Enqueue(
                     stream_->get(), [this, number] { log_.push_back(number); }, "put"),
                 "putting a number");
  }

  std::optional<Stream> stream_;
  std::vector<int> log_;
};

TEST_F(GraphTest, RunsWhatItRecordedAtEachLaunch) {
  const absl::StatusOr<Graph> graph = Graph::Capture(*stream_, [this] { return PutNumber(1); });
  ASSERT_THAT(graph, IsOk());
  EXPECT_THAT(stream_->Synchronize(), IsOk());
  EXPECT_EQ(log_, std::vector<int>{});

  EXPECT_THAT(graph->Launch(*stream_), IsOk());
  EXPECT_THAT(graph->Launch(*stream_), IsOk());
  EXPECT_THAT(stream_->Synchronize(), IsOk());

  EXPECT_EQ(log_, (std::vector<int>{1, 1}));
}

TEST_F(GraphTest, EndsTheRecordingThatThrows) {
  EXPECT_THROW(Graph::Capture(*stream_,
                              [this]() -> absl::Status {
                                PutNumber(1).IgnoreError();
                                throw std::bad_alloc();
                              })
                   .IgnoreError(),
               std::bad_alloc);

  EXPECT_EQ(simt::Count().live_graphs, 0);
  EXPECT_THAT(PutNumber(2), IsOk());
  EXPECT_THAT(stream_->Synchronize(), IsOk());
  EXPECT_EQ(log_, std::vector<int>{2});
}

TEST_F(GraphTest, LeavesNothingBehind) {
  {
    EXPECT_THAT(Graph::Capture(*stream_, [this] { return PutNumber(1); }), IsOk());
  }

  EXPECT_EQ(simt::Count().live_graphs, 0);
}

TEST_F(GraphTest, PassesOnTheErrorOfTheRecording) {
  const auto record = [this] {
    EXPECT_THAT(PutNumber(1), IsOk());
    return absl::AbortedError("no more");
  };

  EXPECT_THAT(Graph::Capture(*stream_, record), StatusIs(absl::StatusCode::kAborted, "no more"));

  EXPECT_EQ(simt::Count().live_graphs, 0);
  EXPECT_THAT(PutNumber(2), IsOk());
  EXPECT_THAT(stream_->Synchronize(), IsOk()) << "captures no more";
  EXPECT_EQ(log_, std::vector<int>{2});
}

TEST_F(GraphTest, FailsIfTheRecordingWaits) {
  const auto record = [this] {
    EXPECT_THAT(stream_->Synchronize(), StatusIs(absl::StatusCode::kInternal));
    return absl::OkStatus();
  };

  EXPECT_THAT(Graph::Capture(*stream_, record),
              StatusIs(absl::StatusCode::kInternal, "cudaErrorStreamCaptureInvalidated"));

  EXPECT_THAT(stream_->Synchronize(), IsOk());
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(GraphTest, IsNotConcernedByOtherThreads) {
  const auto record = [this] {
    std::thread([] { EXPECT_THAT(PinnedBuffer::Create(10), IsOk()); }).join();
    return PutNumber(1);
  };

  EXPECT_THAT(Graph::Capture(*stream_, record), IsOk());
}

// Whichever call fails, no graph and no capture is left.
TEST_F(GraphTest, CleansUpWhereverItFails) {
  int failures = 0;
  for (int nth = 1;; ++nth) {
    simt::Inject({.nth = nth, .error = cudaErrorUnknown});
    {
      const absl::StatusOr<Graph> graph = Graph::Capture(*stream_, [this] { return PutNumber(1); });
      if (simt::HasPendingFaults()) {
        EXPECT_THAT(graph, IsOk());
        break;
      }
      EXPECT_THAT(graph, StatusIs(absl::StatusCode::kInternal, "cudaErrorUnknown"));
      ++failures;
    }
    EXPECT_EQ(simt::Count().live_graphs, 0);
    EXPECT_THAT(stream_->Synchronize(), IsOk());
  }

  EXPECT_EQ(failures, 4) << "begin, put, end, instantiate";
}

TEST_F(GraphTest, ReportsAFailedLaunch) {
  const absl::StatusOr<Graph> graph = Graph::Capture(*stream_, [this] { return PutNumber(1); });
  ASSERT_THAT(graph, IsOk());
  simt::Inject({.call = simt::Call::kLaunch, .error = cudaErrorLaunchOutOfResources});

  EXPECT_THAT(graph->Launch(*stream_), StatusIs(absl::StatusCode::kResourceExhausted));

  EXPECT_THAT(graph->Launch(*stream_), IsOk());
}

}  // namespace
}  // namespace codegen::cuda
