// SPDX-License-Identifier: Apache-2.0
#include "codegen/benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <numeric>
#include <string>
#include <utility>

#include "api/lockstep.h"
#include "api/model_state.h"
#include "base/check.h"
#include "base/no_memory.h"

namespace codegen {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPrefillRuns = 3;
constexpr int kBenchmarkBatch = 1024;

double Median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

absl::Status CheckOptions(const BenchmarkOptions& options, int context) {
  if (options.prompt_tokens.empty() || options.batch.empty()) {
    return absl::InvalidArgumentError(
        "BenchmarkOptions::prompt_tokens and batch need at least one entry each");
  }
  if (options.new_tokens < 1) {
    return absl::InvalidArgumentError(
        fmt::format("BenchmarkOptions::new_tokens is {}, must be >= 1", options.new_tokens));
  }
  for (const int tokens : options.prompt_tokens) {
    if (tokens >= 1 && tokens <= context) continue;
    return absl::InvalidArgumentError(
        fmt::format("BenchmarkOptions::prompt_tokens has {}, allowed 1 to {}", tokens, context));
  }
  for (const int batch : options.batch) {
    if (batch >= 1 && batch <= kBenchmarkBatch) continue;
    return absl::InvalidArgumentError(
        fmt::format("BenchmarkOptions::batch has {}, allowed 1 to {}", batch, kBenchmarkBatch));
  }
  if (options.prompt_tokens.front() + options.new_tokens > context) {
    return absl::InvalidArgumentError(
        fmt::format("prompt_tokens {} and new_tokens {} exceed the context of {}",
                    options.prompt_tokens.front(), options.new_tokens, context));
  }
  return absl::OkStatus();
}

// Seconds that `work` takes.
template <class Work>
absl::StatusOr<double> SecondsOf(const Work& work) {
  const Clock::time_point begin = Clock::now();
  CODEGEN_RETURN_IF_ERROR(work());
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Operations of a prompt, two per multiply-add: every matrix for every token, the head once, and
// attention, in which token t meets t + 1 keys and values.
double PrefillOperations(const Model::State& state, double tokens) {
  const double head = static_cast<double>(state.memory.head_elements);
  const double blocks =
      static_cast<double>(state.memory.matrix_elements - state.memory.embedding_elements) - head;
  const double attention = 2.0 * state.config.layers * state.config.width * tokens * (tokens + 1);
  return 2 * blocks * tokens + 2 * head + attention;
}

// Bytes that a decode step must read: the weights once, an embedding row and the cache of every
// sequence.
double DecodeBytes(const Model::State& state, double batch, double context) {
  const double weights = static_cast<double>(state.info.weight_bytes - state.embedding_bytes);
  const double row = static_cast<double>(state.embedding_bytes) / state.config.vocabulary;
  return weights + batch * (row + context * static_cast<double>(state.info.kv_bytes_per_token));
}

// Shares are left as what was reached, in 1e9 a second, until the machine has been measured again.
absl::StatusOr<PrefillSpeed> MeasurePrefill(const Model& model, int tokens) {
  CODEGEN_ASSIGN_OR_RETURN(api::Lockstep lockstep, api::Lockstep::Create(model, 1, tokens));
  std::vector<double> seconds;
  for (int run = 0; run <= kPrefillRuns;
       ++run) {  // the first touches fresh memory and does not count
    lockstep.Rewind();
    CODEGEN_ASSIGN_OR_RETURN(const double elapsed,
                             SecondsOf([&] { return lockstep.Prefill(tokens); }));
    if (run > 0) seconds.push_back(elapsed);
  }
  const double median = Median(seconds);
  return PrefillSpeed{.tokens = tokens,
                      .tok_s = tokens / median,
                      .share_of_peak = PrefillOperations(*model.state(), tokens) / median / 1e9};
}

absl::StatusOr<DecodeSpeed> MeasureDecode(const Model& model, int batch,
                                          const BenchmarkOptions& options) {
  const int context = options.prompt_tokens.front();
  CODEGEN_ASSIGN_OR_RETURN(api::Lockstep lockstep,
                           api::Lockstep::Create(model, batch, context + options.new_tokens));
  CODEGEN_RETURN_IF_ERROR(lockstep.Prefill(context));
  std::vector<double> seconds;
  for (int i = 0; i < options.new_tokens; ++i) {
    CODEGEN_ASSIGN_OR_RETURN(const double elapsed, SecondsOf([&] { return lockstep.Decode(); }));
    seconds.push_back(elapsed);
  }
  const double median = Median(seconds);
  const double bytes = DecodeBytes(*model.state(), batch, context + options.new_tokens / 2.0);
  return DecodeSpeed{.batch = batch,
                     .context = context,
                     .tok_s = batch / median,
                     .share_of_bandwidth = bytes / median / 1e9};
}

// Other work on the machine only ever makes a probe too low.
MachineSpeed Best(MachineSpeed a, const MachineSpeed& b) {
  a.read_gb_s = std::max(a.read_gb_s, b.read_gb_s);
  a.f32_gflops = std::max(a.f32_gflops, b.f32_gflops);
  a.bf16_gflops = std::max(a.bf16_gflops, b.bf16_gflops);
  a.int8_gops = std::max(a.int8_gops, b.int8_gops);
  return a;
}

double PeakOf(const MachineSpeed& machine, const std::string& name) {
  if (name == "int8") return machine.int8_gops;
  return name == "bf16" ? machine.bf16_gflops : machine.f32_gflops;
}

}  // namespace

absl::StatusOr<BenchmarkResult> RunBenchmark(const Model& model,
                                             const BenchmarkOptions& options) try {
  CODEGEN_RETURN_IF_ERROR(CheckOptions(options, model.info().context));
  const double cases = static_cast<double>(2 + options.prompt_tokens.size() + options.batch.size());
  double done = 0;
  const auto report = [&] {
    if (options.progress) options.progress(++done / cases);
  };
  BenchmarkResult result{.machine = model.state()->on_device.measure()};
  report();
  for (const int tokens : options.prompt_tokens) {
    CODEGEN_ASSIGN_OR_RETURN(const PrefillSpeed speed, MeasurePrefill(model, tokens));
    result.prefill.push_back(speed);
    report();
  }
  for (const int batch : options.batch) {
    CODEGEN_ASSIGN_OR_RETURN(const DecodeSpeed speed, MeasureDecode(model, batch, options));
    result.decode.push_back(speed);
    report();
  }
  result.machine = Best(result.machine, model.state()->on_device.measure());
  result.peak = model.state()->on_device.peak;
  const double peak = PeakOf(result.machine, result.peak);
  for (PrefillSpeed& speed : result.prefill)
    speed.share_of_peak = peak > 0 ? speed.share_of_peak / peak : 0;
  for (DecodeSpeed& speed : result.decode) speed.share_of_bandwidth /= result.machine.read_gb_s;
  report();
  return result;
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory to measure the model");
}

}  // namespace codegen
