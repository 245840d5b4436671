// SPDX-License-Identifier: Apache-2.0
//
// Collects what an engine counts and measures, and hands it out as a value.
//
//   Recorder recorder;
//   recorder.Accepted();
//   recorder.Step({.seconds = 0.004, .rows = 20, .samples = 4, .load = {.running = 4}});
//   std::string page = recorder.Snapshot().ToPrometheus();
//
// Everything goes through one lock: an event costs tens of nanoseconds, a step of the device
// hundreds of microseconds at least, and a snapshot is one moment of all of it.
#ifndef CODEGEN_METRICS_RECORDER_H_
#define CODEGEN_METRICS_RECORDER_H_

#include <absl/base/thread_annotations.h>

#include <cstdint>

#include "base/mutex.h"
#include "codegen/metrics.h"
#include "codegen/request.h"

namespace codegen::metrics {

// What an engine is busy with.
struct Load {
  int running = 0;        // samples with memory and a place in the batch
  int waiting = 0;        // samples
  int blocks = 0;         // of the key-value memory
  int blocks_used = 0;    // of them, held by requests
  int blocks_cached = 0;  // of them, kept for their prefix alone
};

// What an engine has done since it began.
struct Totals {
  std::uint64_t preemptions = 0;
  std::uint64_t looked_up_tokens = 0;  // of prompts, in the prefix cache
  std::uint64_t found_tokens = 0;
  std::uint64_t prompt_tokens = 0;  // of the prompts whose first token is drawn
  std::uint64_t drawn_tokens = 0;
};

// One step of the device.
struct StepRecord {
  double seconds = 0;
  int rows = 0;     // tokens computed
  int samples = 0;  // that they belong to
  Load load = {};
  Totals totals = {};
};

// How a request ended.
struct Ending {
  FinishReason reason = FinishReason::kStop;
  Timeline timeline = {};
};

// Safe to use from several threads. Times are taken from the timelines alone; spans one end of
// which did not happen are not observed.
class Recorder {
 public:
  Recorder();

  void Accepted();
  void Refused();

  // The first token of a request was drawn.
  void FirstToken(const Timeline& timeline);
  // A later token of a sample was drawn, so long after the one before.
  void Token(double seconds_since_last);
  // Called once for every request that was accepted.
  void Finished(const Ending& ending);

  // A step was completed; its load is what the gauges show from now on, its totals are what the
  // counters have grown to.
  void Step(const StepRecord& step);
  // The load changed without a step. An engine that runs out of work says so here, for the gauges
  // would show its last step for ever.
  void Gauges(const Load& load);

  Metrics Snapshot() const;

 private:
  void Show(const Load& load) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable base::Mutex mutex_;
  Metrics metrics_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace codegen::metrics

#endif  // CODEGEN_METRICS_RECORDER_H_
