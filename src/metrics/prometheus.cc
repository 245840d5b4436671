// SPDX-License-Identifier: Apache-2.0
//
// Prometheus' text format, version 0.0.4:
//
//   # HELP vllm:num_preemptions_total Times that a request lost its memory.
//   # TYPE vllm:num_preemptions_total counter
//   vllm:num_preemptions_total{model_name="codegen25"} 3
//
// The buckets of a histogram are cumulative there, one line each, the last of them "+Inf". Numbers
// are the shortest that read back to the same value, whatever the locale. Every family is on every
// page, so that a counter is seen to start at 0.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "codegen/metrics.h"
#include "codegen/request.h"

namespace codegen {
namespace {

class PrometheusPage {
 public:
  explicit PrometheusPage(std::string_view labels) : labels_(labels) {}

  void Gauge(std::string_view name, std::string_view help, double value) {
    Family(name, help, "gauge");
    Sample(name, "", value);
  }

  void Counter(std::string_view name, std::string_view help, std::uint64_t value) {
    Family(name, help, "counter");
    Sample(name, "", value);
  }

  void Distribution(std::string_view name, std::string_view help, const Histogram& histogram);

  void Family(std::string_view name, std::string_view help, std::string_view type);

  // `label` is one of our own beside those of the host, or empty.
  void Sample(std::string_view name, std::string_view label, std::uint64_t value) {
    Line(name, label, fmt::format("{}", value));
  }
  void Sample(std::string_view name, std::string_view label, double value) {
    Line(name, label, Number(value));
  }

  std::string Take() { return std::move(text_); }

 private:
  static std::string Number(double value);
  void Line(std::string_view name, std::string_view label, std::string_view value);

  std::string_view labels_;
  std::string text_;
};

std::string PrometheusPage::Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

void PrometheusPage::Family(std::string_view name, std::string_view help, std::string_view type) {
  fmt::format_to(std::back_inserter(text_), "# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

void PrometheusPage::Line(std::string_view name, std::string_view label, std::string_view value) {
  text_ += name;
  if (!labels_.empty() || !label.empty()) {
    const std::string_view comma = labels_.empty() || label.empty() ? "" : ",";
    fmt::format_to(std::back_inserter(text_), "{{{}{}{}}}", labels_, comma, label);
  }
  fmt::format_to(std::back_inserter(text_), " {}\n", value);
}

void PrometheusPage::Distribution(std::string_view name, std::string_view help,
                                  const Histogram& histogram) {
  Family(name, help, "histogram");
  const std::string bucket = fmt::format("{}_bucket", name);
  const std::size_t finite = std::min(histogram.bounds.size(), histogram.counts.size());
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < finite; ++i) {
    cumulative += histogram.counts[i];
    Sample(bucket, fmt::format("le=\"{}\"", Number(histogram.bounds[i])), cumulative);
  }
  Sample(bucket, "le=\"+Inf\"", histogram.count);
  Sample(fmt::format("{}_sum", name), "", histogram.sum);
  Sample(fmt::format("{}_count", name), "", histogram.count);
}

void AddGauges(const Metrics& metrics, PrometheusPage& page) {
  page.Gauge("vllm:num_requests_running", "Samples with memory and a place in the batch.",
             metrics.requests_running);
  page.Gauge("vllm:num_requests_waiting", "Samples that wait for memory or a place.",
             metrics.requests_waiting);
  page.Gauge("vllm:kv_cache_usage_perc", "Share of the KV blocks that requests hold; 1 is all.",
             metrics.kv_usage);
  page.Gauge("codegen:kv_blocks", "KV blocks in all.", static_cast<double>(metrics.kv_blocks));
  page.Gauge("codegen:kv_blocks_cached", "KV blocks kept for their prefix alone.",
             static_cast<double>(metrics.kv_blocks_cached));
}

void AddCounters(const Metrics& metrics, PrometheusPage& page) {
  page.Counter("codegen:requests_accepted_total", "Requests accepted.", metrics.requests_accepted);
  page.Counter("codegen:requests_refused_total", "Requests refused.", metrics.requests_refused);
  page.Counter("vllm:prompt_tokens_total", "Tokens of the prompts computed so far.",
               metrics.prompt_tokens);
  page.Counter("vllm:generation_tokens_total", "Tokens generated so far.",
               metrics.generation_tokens);
  page.Counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.",
               metrics.prefix_cache_queries);
  page.Counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.",
               metrics.prefix_cache_hits);
  page.Counter("vllm:num_preemptions_total", "Times that a request lost its memory.",
               metrics.preemptions);
  page.Counter("codegen:steps_total", "Steps of the device.", metrics.steps);
}

// vLLM has fewer reasons than we, and calls them all a success.
void AddReasons(const Metrics& metrics, PrometheusPage& page) {
  const auto ended = [&](FinishReason reason) {
    return metrics.requests_finished[static_cast<std::size_t>(reason)];
  };
  using enum FinishReason;
  constexpr std::string_view kSuccess = "vllm:request_success_total";
  page.Family(kSuccess, "Requests that ended, by vLLM's reasons.", "counter");
  page.Sample(kSuccess, "finished_reason=\"stop\"", ended(kStop) + ended(kEos));
  page.Sample(kSuccess, "finished_reason=\"length\"", ended(kLength));
  page.Sample(kSuccess, "finished_reason=\"abort\"", ended(kCancelled) + ended(kDeadline));
  page.Sample(kSuccess, "finished_reason=\"error\"", ended(kError));

  constexpr std::string_view kFinished = "codegen:requests_finished_total";
  page.Family(kFinished, "Requests that ended, by reason.", "counter");
  for (const FinishReason reason : {kStop, kLength, kEos, kCancelled, kDeadline, kError})
    page.Sample(kFinished, fmt::format("reason=\"{}\"", FinishReasonName(reason)), ended(reason));
}

void AddDistributions(const Metrics& metrics, PrometheusPage& page) {
  page.Distribution("vllm:time_to_first_token_seconds", "From arrival to the first token.",
                    metrics.time_to_first_token);
  page.Distribution("vllm:inter_token_latency_seconds", "Between the tokens of a sample.",
                    metrics.inter_token);
  page.Distribution("vllm:request_queue_time_seconds", "From arrival until first scheduled.",
                    metrics.queue_time);
  page.Distribution("vllm:request_prefill_time_seconds", "From scheduled to the first token.",
                    metrics.prefill_time);
  page.Distribution("vllm:request_decode_time_seconds", "From the first token to the end.",
                    metrics.decode_time);
  page.Distribution("vllm:e2e_request_latency_seconds", "From arrival to the end.",
                    metrics.end_to_end);
  page.Distribution("codegen:step_time_seconds", "Of one step of the device.", metrics.step_time);
  page.Distribution("vllm:iteration_tokens_total", "Tokens computed in one step.",
                    metrics.step_rows);
  page.Distribution("codegen:batch_size", "Samples in one step.", metrics.batch_size);
}

}  // namespace

std::string Metrics::ToPrometheus(std::string_view labels) const {
  PrometheusPage page(labels);
  AddGauges(*this, page);
  AddCounters(*this, page);
  AddReasons(*this, page);
  AddDistributions(*this, page);
  return page.Take();
}

}  // namespace codegen
