// SPDX-License-Identifier: Apache-2.0
//
// What a load test has shown: numbers, a table, JSON and a figure.
#ifndef CODEGEN_EXAMPLES_CLI_LOAD_REPORT_H_
#define CODEGEN_EXAMPLES_CLI_LOAD_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "load.h"
#include "load_generator.h"
#include "output.h"

namespace cli {

// Sizes that the share 0.5, 0.95 and 0.99 of the samples do not exceed; each is one of the samples.
// 0 without any.
struct Quantiles {
  double p50 = 0;
  double p95 = 0;
  double p99 = 0;
};

Quantiles QuantilesOf(std::vector<double> samples);

// One line of the report.
struct LoadSummary {
  LoadPoint point;
  int requests = 0;
  std::int64_t tokens = 0;  // of all completions, also those that ended late
  double seconds = 0;
  double tok_s = 0;
  double requests_per_min = 0;  // of those in time
  Quantiles ttft_s = {};
  Quantiles inter_token_s = {};
  Quantiles end_to_end_s = {};
  double goodput = 0;  // share of the requests that ended by themselves, before their deadline
  double batch_size = 0;
  double kv_usage = 0;
  std::uint64_t preemptions = 0;
  double prefix_hit_rate = 0;
};

LoadSummary Summarize(const LoadResult& result);

Json ToJson(const LoadedModel& loaded, const Flags& flags,
            const std::vector<LoadSummary>& summaries);
std::string ToTable(const LoadedModel& loaded, const Flags& flags,
                    const std::vector<LoadSummary>& summaries);
// An SVG document: throughput and latency over the points.
std::string ToFigure(const LoadedModel& loaded, const Flags& flags,
                     const std::vector<LoadSummary>& summaries);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_LOAD_REPORT_H_
