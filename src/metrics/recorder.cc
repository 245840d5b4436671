// SPDX-License-Identifier: Apache-2.0
//
// The bounds of the buckets are vLLM's, so that alerts and dashboards made for it mean the same
// here. Its finest are of models that take tens of milliseconds a token; ours may take tens of
// microseconds, so those of times go on downwards.
#include "metrics/recorder.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "codegen/metrics.h"
#include "codegen/request.h"
#include "metrics/histogram.h"

namespace codegen::metrics {
namespace {

constexpr auto kFineBounds = std::to_array({0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005,
                                            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25});
constexpr auto kFirstTokenBounds =
    std::to_array({0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                   1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0});
constexpr auto kTokenBounds =
    std::to_array({0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0,
                   7.5, 10.0, 20.0, 40.0, 80.0});
constexpr auto kRequestBounds =
    std::to_array({0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                   30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0});

// The greatest values that BatcherOptions allows, and for rows vLLM's last bound.
constexpr double kMostRows = 16384;
constexpr double kMostSamples = 1024;

// `bounds`, and the fine ones below them.
Histogram Times(std::span<const double> bounds) {
  std::vector<double> all;
  for (const double fine : kFineBounds)
    if (fine < bounds.front()) all.push_back(fine);
  all.insert(all.end(), bounds.begin(), bounds.end());
  return MakeHistogram(all);
}

// Powers of two from 1 to `most`.
Histogram Sizes(double most) {
  std::vector<double> bounds;
  for (double bound = 1; bound <= most; bound *= 2) bounds.push_back(bound);
  return MakeHistogram(bounds);
}

Metrics NothingYet() {
  return {.time_to_first_token = Times(kFirstTokenBounds),
          .inter_token = Times(kTokenBounds),
          .queue_time = Times(kRequestBounds),
          .prefill_time = Times(kRequestBounds),
          .decode_time = Times(kRequestBounds),
          .end_to_end = Times(kRequestBounds),
          .step_time = Times(kTokenBounds),
          .step_rows = Sizes(kMostRows),
          .batch_size = Sizes(kMostSamples)};
}

void ObserveSpan(Time from, Time to, Histogram& histogram) {
  if (from == Time() || to == Time()) return;
  Observe(std::chrono::duration<double>(to - from).count(), histogram);
}

}  // namespace

Recorder::Recorder() : metrics_(NothingYet()) {}

void Recorder::Accepted() {
  base::MutexLock lock(mutex_);
  ++metrics_.requests_accepted;
}

void Recorder::Refused() {
  base::MutexLock lock(mutex_);
  ++metrics_.requests_refused;
}

void Recorder::FirstToken(const Timeline& timeline) {
  base::MutexLock lock(mutex_);
  ObserveSpan(timeline.queued, timeline.first_token, metrics_.time_to_first_token);
  ObserveSpan(timeline.queued, timeline.scheduled, metrics_.queue_time);
  ObserveSpan(timeline.scheduled, timeline.first_token, metrics_.prefill_time);
}

void Recorder::Token(double seconds_since_last) {
  base::MutexLock lock(mutex_);
  Observe(seconds_since_last, metrics_.inter_token);
}

void Recorder::Finished(const Ending& ending) {
  base::MutexLock lock(mutex_);
  ++metrics_.requests_finished[static_cast<std::size_t>(ending.reason)];
  ObserveSpan(ending.timeline.queued, ending.timeline.done, metrics_.end_to_end);
  ObserveSpan(ending.timeline.first_token, ending.timeline.done, metrics_.decode_time);
}

void Recorder::Step(const StepRecord& step) {
  base::MutexLock lock(mutex_);
  ++metrics_.steps;
  Observe(step.seconds, metrics_.step_time);
  Observe(step.rows, metrics_.step_rows);
  Observe(step.samples, metrics_.batch_size);
  metrics_.preemptions = step.totals.preemptions;
  metrics_.prefix_cache_queries = step.totals.looked_up_tokens;
  metrics_.prefix_cache_hits = step.totals.found_tokens;
  metrics_.prompt_tokens = step.totals.prompt_tokens;
  metrics_.generation_tokens = step.totals.drawn_tokens;
  Show(step.load);
}

void Recorder::Gauges(const Load& load) {
  base::MutexLock lock(mutex_);
  Show(load);
}

Metrics Recorder::Snapshot() const {
  base::MutexLock lock(mutex_);
  return metrics_;
}

void Recorder::Show(const Load& load) {
  metrics_.requests_running = load.running;
  metrics_.requests_waiting = load.waiting;
  metrics_.kv_usage = load.blocks > 0 ? static_cast<double>(load.blocks_used) / load.blocks : 0;
  metrics_.kv_blocks = load.blocks;
  metrics_.kv_blocks_cached = load.blocks_cached;
}

}  // namespace codegen::metrics
