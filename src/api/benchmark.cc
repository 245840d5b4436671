// SPDX-License-Identifier: Apache-2.0
#include "codegen/benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <utility>

#include "api/model_state.h"
#include "base/check.h"

namespace codegen {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPrefillRuns = 3;
constexpr int kBenchmarkStep = 512;  // rows; longer prompts are computed in chunks
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

// A batch of sequences of equal length that grows step by step.
class Lockstep {
 public:
  static absl::StatusOr<Lockstep> Create(const Model& model, int batch, int context) {
    const std::int64_t pages = (context + backend::kPageTokens - 1) / backend::kPageTokens;
    CODEGEN_ASSIGN_OR_RETURN(std::unique_ptr<model::Executor> executor,
                             model.state()->on_device.model->MakeExecutor(
                                 {.pages = pages * batch,
                                  .rows = std::max(batch, std::min(context, kBenchmarkStep)),
                                  .logit_rows = batch}));
    return Lockstep(model.info().vocabulary, batch, static_cast<int>(pages), std::move(executor));
  }

  // Gives every sequence `tokens` more, sequence after sequence, in chunks.
  absl::Status Prefill(int tokens) {
    for (int s = 0; s < batch_; ++s) {
      for (int done = 0; done < tokens; done += kBenchmarkStep) {
        const int count = std::min(kBenchmarkStep, tokens - done);
        CODEGEN_RETURN_IF_ERROR(Step(s, 1, length_ + done, count));
      }
    }
    length_ += tokens;
    return absl::OkStatus();
  }

  // Gives every sequence one more token in a single step.
  absl::Status Decode() {
    CODEGEN_RETURN_IF_ERROR(Step(0, batch_, length_, 1));
    ++length_;
    return absl::OkStatus();
  }

  void Rewind() { length_ = 0; }

 private:
  Lockstep(int vocabulary, int batch, int pages, std::unique_ptr<model::Executor> executor)
      : vocabulary_(vocabulary), batch_(batch), pages_(pages), executor_(std::move(executor)) {}

  // One step of `sequences` sequences from the `first_sequence`-th, `count` tokens each from
  // position `position`; the last token of each is sampled.
  absl::Status Step(int first_sequence, int sequences, int position, int count) {
    std::vector<TokenId> tokens;
    std::vector<std::int32_t> positions, first_row = {0}, first_page = {0}, logit_rows;
    for (int s = 0; s < sequences; ++s) {
      for (int i = 0; i < count; ++i) {
        tokens.push_back((7919 * (position + i) + s) % vocabulary_);
        positions.push_back(position + i);
      }
      first_row.push_back(count * (s + 1));
      first_page.push_back(pages_ * (s + 1));
      logit_rows.push_back(count * (s + 1) - 1);
    }
    std::vector<std::int32_t> pages(static_cast<std::size_t>(pages_ * sequences));
    std::iota(pages.begin(), pages.end(), pages_ * first_sequence);
    const std::vector<backend::Sampling> sampling(static_cast<std::size_t>(sequences),
                                                  {.vocabulary = vocabulary_});
    std::vector<backend::SampledToken> sampled(static_cast<std::size_t>(sequences));
    return executor_->Step({tokens, positions, first_row, first_page, pages, logit_rows},
                           {.sampling = sampling, .tokens = sampled});
  }

  int vocabulary_;
  int batch_;
  int pages_;  // of each sequence
  std::unique_ptr<model::Executor> executor_;
  int length_ = 0;
};

// Seconds that `work` takes.
template <class Work>
absl::StatusOr<double> MedianSeconds(const Work& work) {
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
  CODEGEN_ASSIGN_OR_RETURN(Lockstep lockstep, Lockstep::Create(model, 1, tokens));
  std::vector<double> seconds;
  for (int run = 0; run <= kPrefillRuns;
       ++run) {  // the first touches fresh memory and does not count
    lockstep.Rewind();
    CODEGEN_ASSIGN_OR_RETURN(const double elapsed,
                             MedianSeconds([&] { return lockstep.Prefill(tokens); }));
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
  CODEGEN_ASSIGN_OR_RETURN(Lockstep lockstep,
                           Lockstep::Create(model, batch, context + options.new_tokens));
  CODEGEN_RETURN_IF_ERROR(lockstep.Prefill(context));
  std::vector<double> seconds;
  for (int i = 0; i < options.new_tokens; ++i) {
    CODEGEN_ASSIGN_OR_RETURN(const double elapsed,
                             MedianSeconds([&] { return lockstep.Decode(); }));
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

absl::StatusOr<BenchmarkResult> RunBenchmark(const Model& model, const BenchmarkOptions& options) {
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
  for (PrefillSpeed& speed : result.prefill)
    speed.share_of_peak /= PeakOf(result.machine, result.peak);
  for (DecodeSpeed& speed : result.decode) speed.share_of_bandwidth /= result.machine.read_gb_s;
  report();
  return result;
}

}  // namespace codegen
