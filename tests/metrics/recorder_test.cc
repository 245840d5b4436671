// SPDX-License-Identifier: Apache-2.0
#include "metrics/recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "codegen/metrics.h"
#include "codegen/request.h"

namespace codegen::metrics {
namespace {

using testing::Contains;
using testing::Each;
using testing::Le;

Time AtMilliseconds(int milliseconds) {
  return Time() + std::chrono::hours(1) + std::chrono::milliseconds(milliseconds);
}

Timeline WholeTimeline() {
  return {.queued = AtMilliseconds(0),
          .scheduled = AtMilliseconds(250),
          .first_token = AtMilliseconds(750),
          .done = AtMilliseconds(2750)};
}

std::uint64_t Finished(const Metrics& metrics, FinishReason reason) {
  return metrics.requests_finished[static_cast<std::size_t>(reason)];
}

TEST(Recorder, BeginsAtNothing) {
  const Metrics metrics = Recorder().Snapshot();

  EXPECT_EQ(metrics.requests_accepted, 0U);
  EXPECT_EQ(metrics.steps, 0U);
  EXPECT_THAT(metrics.requests_finished, Each(0U));
  EXPECT_EQ(metrics.end_to_end.count, 0U);
  EXPECT_EQ(metrics.kv_usage, 0);
}

TEST(Recorder, CountsWhatHappensToRequests) {
  Recorder recorder;

  for (int i = 0; i < 3; ++i) recorder.Accepted();
  for (int i = 0; i < 2; ++i) recorder.Refused();

  const Metrics metrics = recorder.Snapshot();
  EXPECT_EQ(metrics.requests_accepted, 3U);
  EXPECT_EQ(metrics.requests_refused, 2U);
}

TEST(Recorder, CountsWhatTheEngineHasDoneInAll) {
  Recorder recorder;

  recorder.Step({.totals = {.preemptions = 1, .drawn_tokens = 7}});
  recorder.Step({.totals = {.preemptions = 2,
                            .looked_up_tokens = 110,
                            .found_tokens = 64,
                            .prompt_tokens = 100,
                            .drawn_tokens = 8}});

  const Metrics metrics = recorder.Snapshot();
  EXPECT_EQ(metrics.preemptions, 2U);
  EXPECT_EQ(metrics.prefix_cache_queries, 110U);
  EXPECT_EQ(metrics.prefix_cache_hits, 64U);
  EXPECT_EQ(metrics.prompt_tokens, 100U);
  EXPECT_EQ(metrics.generation_tokens, 8U);
}

TEST(Recorder, DividesTheTimeUntilTheFirstToken) {
  Recorder recorder;

  recorder.FirstToken(WholeTimeline());

  const Metrics metrics = recorder.Snapshot();
  EXPECT_EQ(metrics.time_to_first_token.count, 1U);
  EXPECT_EQ(metrics.time_to_first_token.sum, 0.75);
  EXPECT_EQ(metrics.queue_time.count, 1U);
  EXPECT_EQ(metrics.queue_time.sum, 0.25);
  EXPECT_EQ(metrics.prefill_time.count, 1U);
  EXPECT_EQ(metrics.prefill_time.sum, 0.5);
  EXPECT_EQ(metrics.decode_time.count, 0U);
  EXPECT_EQ(metrics.end_to_end.count, 0U);
}

TEST(Recorder, ObservesTheTimeBetweenTokens) {
  Recorder recorder;

  recorder.Token(0.25);
  recorder.Token(0.5);

  EXPECT_EQ(recorder.Snapshot().inter_token.count, 2U);
  EXPECT_EQ(recorder.Snapshot().inter_token.sum, 0.75);
}

TEST(Recorder, ObservesTheTimesOfARequestThatEnded) {
  Recorder recorder;

  recorder.Finished({.reason = FinishReason::kEos, .timeline = WholeTimeline()});

  const Metrics metrics = recorder.Snapshot();
  EXPECT_EQ(metrics.end_to_end.count, 1U);
  EXPECT_EQ(metrics.end_to_end.sum, 2.75);
  EXPECT_EQ(metrics.decode_time.count, 1U);
  EXPECT_EQ(metrics.decode_time.sum, 2.0);
  EXPECT_EQ(metrics.time_to_first_token.count, 0U) << "observed when it was drawn";
}

TEST(Recorder, ObservesNoDecodingWithoutAFirstToken) {
  Recorder recorder;

  recorder.Finished({.reason = FinishReason::kDeadline,
                     .timeline = {.queued = AtMilliseconds(0), .done = AtMilliseconds(500)}});

  EXPECT_EQ(recorder.Snapshot().decode_time.count, 0U);
  EXPECT_EQ(recorder.Snapshot().end_to_end.sum, 0.5);
}

TEST(Recorder, CountsEveryReasonToFinishByItself) {
  using enum FinishReason;
  for (const FinishReason reason : {kStop, kLength, kEos, kCancelled, kDeadline, kError}) {
    Recorder recorder;

    recorder.Finished({.reason = reason, .timeline = WholeTimeline()});

    for (const FinishReason other : {kStop, kLength, kEos, kCancelled, kDeadline, kError})
      EXPECT_EQ(Finished(recorder.Snapshot(), other), other == reason ? 1U : 0U)
          << FinishReasonName(reason) << " as " << FinishReasonName(other);
  }
}

TEST(Recorder, ObservesAStep) {
  Recorder recorder;

  recorder.Step({.seconds = 0.125, .rows = 20, .samples = 4});
  recorder.Step({.seconds = 0.25, .rows = 5, .samples = 5});

  const Metrics metrics = recorder.Snapshot();
  EXPECT_EQ(metrics.steps, 2U);
  EXPECT_EQ(metrics.step_time.sum, 0.375);
  EXPECT_EQ(metrics.step_time.count, 2U);
  EXPECT_EQ(metrics.step_rows.sum, 25);
  EXPECT_EQ(metrics.step_rows.count, 2U);
  EXPECT_EQ(metrics.batch_size.sum, 9);
  EXPECT_EQ(metrics.batch_size.count, 2U);
}

TEST(Recorder, ShowsTheLoadOfTheLastStep) {
  Recorder recorder;

  recorder.Step({.load = {.running = 9, .waiting = 9, .blocks = 9, .blocks_used = 9}});
  recorder.Step(
      {.load = {.running = 4, .waiting = 2, .blocks = 64, .blocks_used = 16, .blocks_cached = 8}});

  const Metrics metrics = recorder.Snapshot();
  EXPECT_EQ(metrics.requests_running, 4);
  EXPECT_EQ(metrics.requests_waiting, 2);
  EXPECT_EQ(metrics.kv_usage, 0.25);
  EXPECT_EQ(metrics.kv_blocks, 64);
  EXPECT_EQ(metrics.kv_blocks_cached, 8);
}

TEST(Recorder, ReturnsToNoLoadWithoutAStepWhenIdle) {
  Recorder recorder;
  recorder.Step({.load = {.running = 4, .waiting = 2, .blocks = 64, .blocks_used = 16}});

  recorder.Gauges({.blocks = 64, .blocks_cached = 12});

  const Metrics metrics = recorder.Snapshot();
  EXPECT_EQ(metrics.requests_running, 0);
  EXPECT_EQ(metrics.requests_waiting, 0);
  EXPECT_EQ(metrics.kv_usage, 0);
  EXPECT_EQ(metrics.kv_blocks, 64);
  EXPECT_EQ(metrics.kv_blocks_cached, 12);
  EXPECT_EQ(metrics.steps, 1U);
  EXPECT_EQ(metrics.step_time.count, 1U);
}

TEST(Recorder, ShowsNoUseOfMemoryThatIsNotThere) {
  Recorder recorder;

  recorder.Gauges({});

  EXPECT_EQ(recorder.Snapshot().kv_usage, 0);
}

TEST(Recorder, LeavesSnapshotsAsTheyWere) {
  Recorder recorder;
  recorder.Accepted();

  const Metrics before = recorder.Snapshot();
  recorder.Accepted();

  EXPECT_EQ(before.requests_accepted, 1U);
  EXPECT_EQ(recorder.Snapshot().requests_accepted, 2U);
}

TEST(Recorder, ResolvesTimesOfMicrosecondsToMinutes) {
  const Metrics metrics = Recorder().Snapshot();

  for (const Histogram* histogram :
       {&metrics.time_to_first_token, &metrics.inter_token, &metrics.queue_time,
        &metrics.prefill_time, &metrics.decode_time, &metrics.end_to_end, &metrics.step_time}) {
    const std::vector<double>& bounds = histogram->bounds;
    EXPECT_LE(bounds.front(), 1e-5);
    EXPECT_GE(bounds.back(), 60);
    for (std::size_t i = 1; i < bounds.size(); ++i) {
      EXPECT_LT(bounds[i - 1], bounds[i]);
      EXPECT_LE(bounds[i], 5 * bounds[i - 1]);
    }
  }
}

// Alerts written for vLLM name its bounds.
TEST(Recorder, HasTheBoundsOfVllm) {
  const Metrics metrics = Recorder().Snapshot();

  for (const double bound : {0.001, 0.02, 0.06, 0.75, 7.5, 160.0, 2560.0})
    EXPECT_THAT(metrics.time_to_first_token.bounds, Contains(bound));
  for (const double bound : {0.01, 0.025, 0.075, 0.15, 0.4, 2.5, 80.0})
    EXPECT_THAT(metrics.inter_token.bounds, Contains(bound));
  for (const double bound : {0.3, 0.8, 1.5, 15.0, 240.0, 7680.0})
    EXPECT_THAT(metrics.end_to_end.bounds, Contains(bound));
  for (const double bound : {1, 8, 512, 16384})
    EXPECT_THAT(metrics.step_rows.bounds, Contains(bound));
}

TEST(Recorder, ResolvesSizesByPowersOfTwo) {
  const Metrics metrics = Recorder().Snapshot();

  for (const Histogram* histogram : {&metrics.step_rows, &metrics.batch_size}) {
    EXPECT_EQ(histogram->bounds.front(), 1);
    for (std::size_t i = 1; i < histogram->bounds.size(); ++i)
      EXPECT_EQ(histogram->bounds[i], 2 * histogram->bounds[i - 1]);
  }
  EXPECT_EQ(metrics.batch_size.bounds.back(), 1024);
}

constexpr int kThreads = 4;
constexpr int kRounds = 500;

void Feed(Recorder& recorder) {
  for (int i = 0; i < kRounds; ++i) {
    recorder.Accepted();
    recorder.Refused();
    recorder.FirstToken(WholeTimeline());
    recorder.Token(0.5);
    recorder.Finished({.timeline = WholeTimeline()});
    const auto step = static_cast<std::uint64_t>(i + 1);
    recorder.Step({.seconds = 0.25,
                   .rows = 2,
                   .samples = 1,
                   .load = {.running = 1},
                   .totals = {.preemptions = step, .drawn_tokens = 3 * step}});
    recorder.Gauges({});
  }
}

TEST(Recorder, AddsUpWhatSeveralThreadsFeed) {
  Recorder recorder;
  std::vector<std::thread> threads;

  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&] { Feed(recorder); });
  for (std::thread& thread : threads) thread.join();

  const Metrics metrics = recorder.Snapshot();
  constexpr std::uint64_t kAll = kThreads * kRounds;
  EXPECT_EQ(metrics.requests_accepted, kAll);
  EXPECT_EQ(metrics.requests_refused, kAll);
  EXPECT_EQ(Finished(metrics, FinishReason::kStop), kAll);
  EXPECT_EQ(metrics.steps, kAll);
  for (const Histogram* histogram :
       {&metrics.time_to_first_token, &metrics.inter_token, &metrics.queue_time,
        &metrics.prefill_time, &metrics.decode_time, &metrics.end_to_end, &metrics.step_time,
        &metrics.step_rows, &metrics.batch_size})
    EXPECT_EQ(histogram->count, kAll);
  EXPECT_EQ(metrics.requests_running, 0);
}

// What one call records is in a snapshot as a whole or not at all.
TEST(Recorder, TakesSnapshotsOfOneMoment) {
  Recorder recorder;
  std::atomic<bool> ended{false};
  std::thread feeder([&] {
    Feed(recorder);
    ended = true;
  });

  std::uint64_t last = 0;
  do {
    const Metrics metrics = recorder.Snapshot();
    EXPECT_EQ(metrics.step_time.count, metrics.steps);
    EXPECT_EQ(metrics.batch_size.count, metrics.steps);
    EXPECT_EQ(metrics.preemptions, metrics.steps);
    EXPECT_EQ(metrics.generation_tokens, 3 * metrics.steps);
    EXPECT_THAT(last, Le(metrics.steps));
    last = metrics.steps;
  } while (!ended);
  feeder.join();
}

}  // namespace
}  // namespace codegen::metrics
