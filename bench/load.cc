// SPDX-License-Identifier: Apache-2.0
//
// What the batcher costs and gains, each figure beside what it is held against, in turns in one
// run:
//
//   load_bench bench/shapes/codegen1-350M.json int8 [THREADS]
//
// - overhead: a step of 16 continuations in the batcher, over the same step of the bare executor;
// - short behind long: time to the first token of short requests while 8 long generations run, over
//   the same alone;
// - prefix: time to the first token of a prompt of 1,024 tokens, over the same when it was seen
//   before;
// - by hand: mixed lengths through the batcher, over static batches of 16 padded to their longest,
//   as a host without a batcher would run them on the bare executor.
//
// `codegen bench --load` measures clients, rates and latencies.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "api/lockstep.h"
#include "base/check.h"
#include "codegen/codegen.h"
#include "program.h"

namespace codegen {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr int kBatch = 16;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

double Quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

std::vector<TokenId> Prompt(int tokens, int number, int vocabulary) {
  std::vector<TokenId> prompt;
  for (int i = 0; i < tokens; ++i) prompt.push_back((7919 * i + 31 * number + 5) % vocabulary);
  return prompt;
}

Request Endless(std::vector<TokenId> prompt, int new_tokens) {
  return {
      .prompt_ids = std::move(prompt), .max_new_tokens = new_tokens, .stop = {.ignore_eos = true}};
}

double FirstTokenSeconds(const Completion& completion) {
  return Seconds(completion.timeline.first_token - completion.timeline.queued);
}

// Overhead.

constexpr int kContext = 128;
constexpr int kSteps = 64;

absl::StatusOr<double> BareStep(api::Lockstep& lockstep) {
  lockstep.Rewind();
  CODEGEN_RETURN_IF_ERROR(lockstep.Prefill(kContext));
  CODEGEN_RETURN_IF_ERROR(lockstep.Decode());
  const Clock::time_point begin = Clock::now();
  for (int i = 1; i < kSteps; ++i) CODEGEN_RETURN_IF_ERROR(lockstep.Decode());
  return Seconds(Clock::now() - begin) / (kSteps - 1);
}

// All prompts in one step, so that all go on together.
absl::StatusOr<double> BatcherStep(Batcher& batcher, int round) {
  const int vocabulary = batcher.model().info().vocabulary;
  std::vector<Handle> handles;
  for (int i = 0; i < kBatch; ++i) {
    CODEGEN_ASSIGN_OR_RETURN(
        Handle handle,
        batcher.Submit(Endless(Prompt(kContext, 100 * round + i, vocabulary), kSteps)));
    handles.push_back(std::move(handle));
  }
  Time first = Time::min();
  Time done = Time::min();
  for (Handle& handle : handles) {
    first = std::max(first, handle.Wait().timeline.first_token);
    done = std::max(done, handle.Wait().timeline.done);
  }
  return Seconds(done - first) / (kSteps - 1);
}

absl::Status Overhead(const Model& model) {
  CODEGEN_ASSIGN_OR_RETURN(auto lockstep,
                           api::Lockstep::Create(model, kBatch, kContext + kSteps + 1));
  CODEGEN_ASSIGN_OR_RETURN(auto batcher,
                           Batcher::Create(model, {.max_batch = kBatch,
                                                   .step_tokens = kBatch * kContext,
                                                   .context_tokens = kContext + kSteps,
                                                   .prefix_cache_quota = 0,
                                                   .policy = {.window = std::chrono::seconds(1)}}));
  std::vector<double> ratios;
  std::vector<double> bare_steps;
  for (int round = 0; round < kRounds; ++round) {
    CODEGEN_ASSIGN_OR_RETURN(const double bare, BareStep(lockstep));
    CODEGEN_ASSIGN_OR_RETURN(const double batched, BatcherStep(*batcher, round));
    bare_steps.push_back(bare);
    ratios.push_back(batched / bare);
  }
  fmt::print(
      "overhead        step of {} rows: bare {:.2f} ms, batcher {:.3f} x ({:.3f} to {:.3f})\n",
      kBatch, 1e3 * Quantile(bare_steps, 0.5), Quantile(ratios, 0.5), Quantile(ratios, 0),
      Quantile(ratios, 1));
  return absl::OkStatus();
}

// Short behind long.

absl::StatusOr<std::vector<double>> ShortRequests(Batcher& batcher, int first, int count) {
  std::vector<double> seconds;
  for (int i = 0; i < count; ++i) {
    CODEGEN_ASSIGN_OR_RETURN(
        Handle handle,
        batcher.Submit(Endless(Prompt(64, first + i, batcher.model().info().vocabulary), 4)));
    seconds.push_back(FirstTokenSeconds(handle.Wait()));
  }
  return seconds;
}

absl::Status ShortBehindLong(const Model& model) {
  CODEGEN_ASSIGN_OR_RETURN(auto batcher, Batcher::Create(model, {.context_tokens = 1024}));
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<double> alone, ShortRequests(*batcher, 0, 40));
  std::vector<Handle> longs;
  for (int i = 0; i < 8; ++i) {
    CODEGEN_ASSIGN_OR_RETURN(
        Handle handle,
        batcher->Submit(Endless(Prompt(64, 1000 + i, model.info().vocabulary), 900)));
    longs.push_back(std::move(handle));
  }
  CODEGEN_RETURN_IF_ERROR(ShortRequests(*batcher, 2000, 3).status());  // the long ones run by now
  const Metrics before = batcher->metrics();
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<double> beside, ShortRequests(*batcher, 3000, 40));
  const Metrics after = batcher->metrics();
  const bool all_ran = std::ranges::none_of(longs, &Handle::done);
  const double step = (after.step_time.sum - before.step_time.sum) /
                      static_cast<double>(after.steps - before.steps);
  fmt::print(
      "short behind long  first token alone p50 {:.1f} p95 {:.1f} ms; beside 8 long ones p50 "
      "{:.1f} "
      "p95 {:.1f} ms; a step {:.1f} ms; p95 is {:.2f} x (2 x alone + a step){}\n",
      1e3 * Quantile(alone, 0.5), 1e3 * Quantile(alone, 0.95), 1e3 * Quantile(beside, 0.5),
      1e3 * Quantile(beside, 0.95), 1e3 * step,
      Quantile(beside, 0.95) / (2 * Quantile(alone, 0.95) + step),
      all_ran ? "" : " (the long ones ended early: not valid)");
  return absl::OkStatus();
}

// Prefix.

absl::Status Prefix(const Model& model) {
  CODEGEN_ASSIGN_OR_RETURN(auto batcher, Batcher::Create(model, {.context_tokens = 1536}));
  std::vector<double> cold;
  std::vector<double> warm;
  for (int round = 0; round < kRounds; ++round) {
    const Request request = Endless(Prompt(1024, 77 * round, model.info().vocabulary), 2);
    for (std::vector<double>* seconds : {&cold, &warm}) {
      CODEGEN_ASSIGN_OR_RETURN(Handle handle, batcher->Submit(request));
      seconds->push_back(FirstTokenSeconds(handle.Wait()));
    }
  }
  fmt::print(
      "prefix          first token of 1,024 tokens: cold {:.0f} ms, seen before {:.1f} ms: {:.1f} "
      "x\n",
      1e3 * Quantile(cold, 0.5), 1e3 * Quantile(warm, 0.5),
      Quantile(cold, 0.5) / Quantile(warm, 0.5));
  return absl::OkStatus();
}

// By hand.

struct Lengths {
  int prompt = 0;
  int completion = 0;
};

// Like HumanEval's prompts and answers: log-normal around 130 and 60 tokens.
std::vector<Lengths> MixedLengths(int count) {
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  const auto draw = [&](double median, double spread, int most) {
    return std::clamp(static_cast<int>(median * std::exp(spread * normal(random))), 8, most);
  };
  std::vector<Lengths> lengths;
  for (int i = 0; i < count; ++i) lengths.push_back({draw(130, 0.5, 400), draw(60, 0.8, 256)});
  return lengths;
}

absl::StatusOr<double> ByHand(const Model& model, const std::vector<Lengths>& lengths) {
  CODEGEN_ASSIGN_OR_RETURN(auto lockstep, api::Lockstep::Create(model, kBatch, 660));
  const Clock::time_point begin = Clock::now();
  for (std::size_t at = 0; at < lengths.size(); at += kBatch) {
    Lengths longest;
    for (std::size_t i = at; i < at + kBatch; ++i) {
      longest.prompt = std::max(longest.prompt, lengths[i].prompt);
      longest.completion = std::max(longest.completion, lengths[i].completion);
    }
    lockstep.Rewind();
    CODEGEN_RETURN_IF_ERROR(lockstep.Prefill(longest.prompt));
    for (int i = 1; i < longest.completion; ++i) CODEGEN_RETURN_IF_ERROR(lockstep.Decode());
  }
  return Seconds(Clock::now() - begin);
}

// Sixteen clients, each with its next request when the last has ended.
absl::StatusOr<double> InBatcher(Batcher& batcher, const std::vector<Lengths>& lengths) {
  const Clock::time_point begin = Clock::now();
  std::vector<Handle> handles;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const int number = static_cast<int>(i);
    CODEGEN_ASSIGN_OR_RETURN(
        Handle handle,
        batcher.Submit(Endless(Prompt(lengths[i].prompt, number, batcher.model().info().vocabulary),
                               lengths[i].completion)));
    handles.push_back(std::move(handle));
  }
  for (Handle& handle : handles) handle.Wait();
  return Seconds(Clock::now() - begin);
}

absl::Status AgainstByHand(const Model& model) {
  const std::vector<Lengths> lengths = MixedLengths(64);
  CODEGEN_ASSIGN_OR_RETURN(auto batcher, Batcher::Create(model, {.max_batch = kBatch,
                                                                 .context_tokens = 660,
                                                                 .prefix_cache_quota = 0}));
  std::vector<double> ratios;
  double tokens = 0;
  for (const Lengths& one : lengths) tokens += one.completion;
  std::vector<double> batched_s;
  for (int round = 0; round < 3; ++round) {
    CODEGEN_ASSIGN_OR_RETURN(const double by_hand, ByHand(model, lengths));
    CODEGEN_ASSIGN_OR_RETURN(const double batched, InBatcher(*batcher, lengths));
    ratios.push_back(by_hand / batched);
    batched_s.push_back(batched);
  }
  fmt::print(
      "by hand         64 requests of mixed lengths: batcher {:.0f} tokens/s, {:.2f} x static "
      "batches of 16 ({:.2f} to {:.2f})\n",
      tokens / Quantile(batched_s, 0.5), Quantile(ratios, 0.5), Quantile(ratios, 0),
      Quantile(ratios, 1));
  return absl::OkStatus();
}

absl::Status Run(const std::string& shape, WeightFormat format, int threads) {
  CODEGEN_ASSIGN_OR_RETURN(const Model model,
                           Model::Random(shape, {.weights = format, .threads = threads}));
  CODEGEN_RETURN_IF_ERROR(Overhead(model));
  CODEGEN_RETURN_IF_ERROR(ShortBehindLong(model));
  CODEGEN_RETURN_IF_ERROR(Prefix(model));
  return AgainstByHand(model);
}

}  // namespace
}  // namespace codegen

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: load_bench SHAPE.json bf16|int8|int4 [THREADS]\n", stderr);
    return 2;
  }
  const codegen::WeightFormat format = codegen::FormatNamed(argv[2]);
  const absl::Status status = codegen::Run(argv[1], format, argc > 3 ? std::atoi(argv[3]) : 0);
  if (!status.ok()) fmt::print(stderr, "load_bench: {}\n", status.ToString());
  return status.ok() ? 0 : 1;
}
