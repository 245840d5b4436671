// SPDX-License-Identifier: Apache-2.0
#include "load_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "svg_plot.h"

namespace cli {
namespace {

double SecondsBetween(codegen::Time begin, codegen::Time end) {
  return std::chrono::duration<double>(end - begin).count();
}

Json ToJson(const Quantiles& quantiles) {
  return {{"p50", quantiles.p50}, {"p95", quantiles.p95}, {"p99", quantiles.p99}};
}

Json ToJson(const LoadSummary& summary) {
  Json json = summary.point.clients > 0 ? Json{{"clients", summary.point.clients}}
                                        : Json{{"rate", summary.point.rate}};
  json["requests"] = summary.requests;
  json["tokens"] = summary.tokens;
  json["seconds"] = summary.seconds;
  json["tok_s"] = summary.tok_s;
  json["requests_per_min"] = summary.requests_per_min;
  json["ttft_s"] = ToJson(summary.ttft_s);
  json["inter_token_s"] = ToJson(summary.inter_token_s);
  json["end_to_end_s"] = ToJson(summary.end_to_end_s);
  json["goodput"] = summary.goodput;
  json["batch_size"] = summary.batch_size;
  json["kv_usage"] = summary.kv_usage;
  json["preemptions"] = summary.preemptions;
  json["prefix_hit_rate"] = summary.prefix_hit_rate;
  return json;
}

const char* ModeName(const Flags& flags) {
  return flags.load_test.batcher.policy.mode == codegen::BatchMode::kStatic ? "static"
                                                                            : "continuous";
}

std::string Describe(const LoadedModel& loaded, const Flags& flags) {
  const codegen::ModelInfo& info = loaded.model.info();
  return fmt::format("{}, {:.0f} M parameters, {} weights, {} batches of up to {}", info.family,
                     static_cast<double>(info.parameters) * 1e-6,
                     codegen::WeightFormatName(info.weights), ModeName(flags),
                     flags.load_test.batcher.max_batch);
}

std::string Columns(const Quantiles& quantiles, double scale) {
  return fmt::format(" {:7.1f} {:7.1f} {:7.1f}", scale * quantiles.p50, scale * quantiles.p95,
                     scale * quantiles.p99);
}

std::string PointName(const LoadPoint& point) {
  return point.clients > 0 ? fmt::format("{}", point.clients) : fmt::format("{:g}", point.rate);
}

std::vector<double> Column(const std::vector<LoadSummary>& summaries,
                           double (*value)(const LoadSummary&)) {
  std::vector<double> values;
  for (const LoadSummary& summary : summaries) values.push_back(value(summary));
  return values;
}

constexpr double kMilliseconds = 1e3;  // of a second

}  // namespace

Quantiles QuantilesOf(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::ranges::sort(samples);
  const auto count = static_cast<double>(samples.size());
  const auto quantile = [&](double share) {
    return samples[static_cast<std::size_t>(std::max(std::ceil(share * count) - 1, 0.0))];
  };
  return {.p50 = quantile(0.5), .p95 = quantile(0.95), .p99 = quantile(0.99)};
}

LoadSummary Summarize(const LoadResult& result) {
  LoadSummary summary{.point = result.point,
                      .requests = static_cast<int>(result.records.size()),
                      .seconds = result.seconds,
                      .batch_size = result.batch_size,
                      .kv_usage = result.kv_usage,
                      .preemptions = result.preemptions,
                      .prefix_hit_rate = result.prefix_hit_rate};
  std::vector<double> first;
  std::vector<double> gaps;
  std::vector<double> whole;
  int in_time = 0;
  for (const auto& record : result.records) {
    summary.tokens += record->tokens;
    in_time += record->in_time ? 1 : 0;
    if (record->tokens > 0) first.push_back(SecondsBetween(record->asked, record->first_token));
    gaps.insert(gaps.end(), record->gaps_s.begin(), record->gaps_s.end());
    // How soon one that was refused or cut short ended says nothing about speed.
    if (record->in_time) whole.push_back(SecondsBetween(record->asked, record->done));
  }
  summary.ttft_s = QuantilesOf(std::move(first));
  summary.inter_token_s = QuantilesOf(std::move(gaps));
  summary.end_to_end_s = QuantilesOf(std::move(whole));
  if (summary.requests > 0) summary.goodput = static_cast<double>(in_time) / summary.requests;
  if (summary.seconds > 0) {
    summary.tok_s = static_cast<double>(summary.tokens) / summary.seconds;
    summary.requests_per_min = 60 * in_time / summary.seconds;
  }
  return summary;
}

Json ToJson(const LoadedModel& loaded, const Flags& flags,
            const std::vector<LoadSummary>& summaries) {
  const codegen::ModelInfo& info = loaded.model.info();
  Json points = Json::array();
  for (const LoadSummary& summary : summaries) points.push_back(ToJson(summary));
  return {{"device", codegen::DeviceName(info.device)},
          {"gpu_library", OrNull(info.gpu_library)},
          {"weights", codegen::WeightFormatName(info.weights)},
          {"weight_bytes", info.weight_bytes},
          {"kv_cache", codegen::KvFormatName(info.kv_cache)},
          {"precision", codegen::ComputePrecisionName(info.precision)},
          {"isa", codegen::CpuFeaturesName(info.cpu_features)},
          {"mode", ModeName(flags)},
          {"max_batch", flags.load_test.batcher.max_batch},
          {"points", points}};
}

std::string ToTable(const LoadedModel& loaded, const Flags& flags,
                    const std::vector<LoadSummary>& summaries) {
  std::string table = fmt::format(
      "{}\n\n"
      "{:36}  first token, ms         between tokens, ms      end to end, ms\n"
      "{:>8} {:>8} {:>9} {:>8}",
      Describe(loaded, flags), "", flags.load_test.rates.empty() ? "clients" : "rate", "requests",
      "tok/s", "req/min");
  for (int i = 0; i < 3; ++i) table += fmt::format(" {:>7} {:>7} {:>7}", "p50", "p95", "p99");
  table += "  in time  batch  KV max  preempted  prefix\n";
  for (const LoadSummary& summary : summaries) {
    table += fmt::format(
        "{:>8} {:8} {:9.1f} {:8.1f}{}{}{}  {:5.0f} % {:6.1f} {:5.0f} % {:10} {:5.0f} %\n",
        PointName(summary.point), summary.requests, summary.tok_s, summary.requests_per_min,
        Columns(summary.ttft_s, kMilliseconds), Columns(summary.inter_token_s, kMilliseconds),
        Columns(summary.end_to_end_s, kMilliseconds), 100 * summary.goodput, summary.batch_size,
        100 * summary.kv_usage, summary.preemptions, 100 * summary.prefix_hit_rate);
  }
  return table;
}

std::string ToFigure(const LoadedModel& loaded, const Flags& flags,
                     const std::vector<LoadSummary>& summaries) {
  const auto column = [&](double (*value)(const LoadSummary&)) { return Column(summaries, value); };
  using Summary = const LoadSummary&;
  const std::vector<Curve> latency = {
      {"first token, p50", column([](Summary s) { return kMilliseconds * s.ttft_s.p50; })},
      {"first token, p95", column([](Summary s) { return kMilliseconds * s.ttft_s.p95; })},
      {"between tokens, p50",
       column([](Summary s) { return kMilliseconds * s.inter_token_s.p50; })},
      {"between tokens, p95",
       column([](Summary s) { return kMilliseconds * s.inter_token_s.p95; })},
  };
  return ToSvg(
      {.title = Describe(loaded, flags),
       .x_label = flags.load_test.rates.empty() ? "clients" : "requests per second",
       .x = column([](Summary s) { return s.point.clients > 0 ? s.point.clients : s.point.rate; }),
       .panels = {{.title = "Throughput",
                   .y_label = "tokens per second",
                   .y_axis = YAxis::kLinear,
                   .curves = {{"generated tokens", column([](Summary s) { return s.tok_s; })}}},
                  {.title = "Latency",
                   .y_label = "milliseconds",
                   .y_axis = YAxis::kLogarithmic,
                   .curves = latency}}});
}

}  // namespace cli
