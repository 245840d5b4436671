// SPDX-License-Identifier: Apache-2.0
//
// What a Batcher counts and measures, by value.
//
//   std::string page = batcher->metrics().ToPrometheus();
#ifndef CODEGEN_METRICS_H_
#define CODEGEN_METRICS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/export.h"
#include "codegen/request.h"

namespace codegen {

// Counts of observations by size. Bucket i counts those in (bounds[i - 1], bounds[i]]; the last
// bucket, beyond all bounds, has none.
struct Histogram {
  std::vector<double> bounds = {};         // ascending
  std::vector<std::uint64_t> counts = {};  // one more than bounds
  std::uint64_t count = 0;                 // of all observations
  double sum = 0;

  // Estimates the size that the share `q` in [0, 1] of the observations does not exceed, linear
  // within its bucket; the last bound if it lies beyond; 0 without observations.
  CODEGEN_EXPORT double Quantile(double q) const;
};

// One moment of a Batcher. Counters only grow; gauges are of the last step, or of idleness after
// it; times are in seconds.
struct Metrics {
  // Gauges.
  int requests_running = 0;  // samples with memory and a place in the batch
  int requests_waiting = 0;
  double kv_usage = 0;  // share of the KV blocks that requests hold, in [0, 1]
  std::int64_t kv_blocks = 0;
  std::int64_t kv_blocks_cached = 0;  // kept for their prefix alone

  // Counters.
  std::uint64_t requests_accepted = 0;
  std::uint64_t requests_refused = 0;
  std::array<std::uint64_t, 6> requests_finished = {};  // by FinishReason
  std::uint64_t prompt_tokens = 0;                      // of prompts that are computed
  std::uint64_t generation_tokens = 0;                  // drawn so far
  std::uint64_t prefix_cache_queries = 0;               // prompt tokens looked up
  std::uint64_t prefix_cache_hits = 0;                  // of them, those found
  std::uint64_t preemptions = 0;
  std::uint64_t steps = 0;

  Histogram time_to_first_token = {};  // from Submit
  Histogram inter_token = {};          // between the tokens of a sample
  Histogram queue_time = {};           // from Submit until first scheduled
  Histogram prefill_time = {};         // from scheduled to the first token
  Histogram decode_time = {};          // from the first token until done
  Histogram end_to_end = {};           // from Submit until done
  Histogram step_time = {};            // of the device
  Histogram step_rows = {};            // tokens computed in one step
  Histogram batch_size = {};           // samples in one step

  // Returns all of it in Prometheus' text format, version 0.0.4, under vLLM's names where it has
  // one ("vllm:time_to_first_token_seconds"), so that its dashboards work, else under "codegen:".
  // `labels` are put on every sample as they are, e.g. `model_name="codegen25"`.
  CODEGEN_EXPORT std::string ToPrometheus(std::string_view labels = "") const;
};

}  // namespace codegen

#endif  // CODEGEN_METRICS_H_
