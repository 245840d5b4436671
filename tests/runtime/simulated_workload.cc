// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulated_workload.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <span>
#include <string>

namespace codegen::runtime {
namespace {

// Whole blocks of the same few texts, so that equal blocks follow different beginnings.
std::vector<TokenId> MakePrompt(Random& random, int length, int block_tokens) {
  std::vector<TokenId> prompt;
  const int shared = random.OneIn(4) ? 0 : random.Between(0, length);
  while (static_cast<int>(prompt.size()) < shared) {
    const TokenId text = 10 * random.Between(1, 2);
    for (int i = 0; i < block_tokens; ++i) prompt.push_back(text + i % 3);
  }
  while (static_cast<int>(prompt.size()) < length) prompt.push_back(random.Below(50));
  prompt.resize(static_cast<std::size_t>(length));
  return prompt;
}

kv::PagedMemoryOptions MakeMemoryOptions(Random& random) {
  kv::PagedMemoryOptions memory;
  memory.blocks = random.Between(1, random.Pick({4, 12, 40, 40, 200}));
  memory.cache.block_tokens = random.Pick({16, 16, 32, 64});
  memory.cache.quota = random.Pick({0, memory.blocks, random.Between(0, memory.blocks)});
  if (random.OneIn(3)) {
    memory.cache.hash = [](kv::EntryId, std::span<const TokenId> tokens) {
      return static_cast<std::uint64_t>(tokens.front() % 2);
    };
  }
  return memory;
}

SchedulerOptions MakeOptions(Random& random) {
  SchedulerOptions options;
  options.max_batch = random.Between(1, random.Pick({2, 4, 8, 32}));
  options.step_tokens = options.max_batch + random.Between(0, random.Pick({4, 64, 256}));
  options.kv_policy = random.OneIn(4) ? KvPolicy::kReserve : KvPolicy::kPreempt;
  options.policy.mode = random.OneIn(4) ? BatchMode::kStatic : BatchMode::kContinuous;
  if (random.OneIn(2)) options.policy.window = std::chrono::microseconds(random.Below(60'000));
  for (int i = random.Pick({0, 0, 1, 3}); i > 0; --i) {
    options.policy.preferred.push_back(random.Between(1, options.max_batch));
  }
  options.ageing = std::chrono::milliseconds(random.Pick({1, 20, 100, 2000}));
  options.memory = MakeMemoryOptions(random);
  return options;
}

int PromptLength(Random& random, int room, int step_tokens) {
  if (random.OneIn(8)) return room;  // to fit exactly
  // Of the rest none takes so many steps that a seed takes long.
  return std::min(room, random.HeavyTailed(std::min(30 * step_tokens, 2000)));
}

Job MakeJob(Random& random, const SchedulerOptions& options, bool salted) {
  const int capacity = options.memory.blocks * options.memory.cache.block_tokens;
  Job job;
  job.new_tokens = std::min(random.HeavyTailed(64), capacity - 1);
  const int room = std::min(capacity - job.new_tokens, 40 * options.step_tokens);
  job.prompt = MakePrompt(random, PromptLength(random, room, options.step_tokens),
                          options.memory.cache.block_tokens);
  job.samples = random.OneIn(4) ? random.Between(2, 4) : 1;
  job.priority = random.Pick({0, 0, 0, 0, 1, -1, 5});
  job.sampling.seed = random();
  job.sampling.vocabulary = random.Pick({4, 40, 40, 1000});
  if (random.OneIn(3)) {
    const Request request{.repetition_penalty = random.OneIn(2) ? 1.5F : 1.0F,
                          .frequency_penalty = 0.5F};
    job.penalties = sample::Penalties(request, job.prompt, job.sampling.vocabulary);
  }
  if (random.OneIn(2)) job.end_of_text = {0};
  if (random.OneIn(3)) job.stop_tokens = {1, 2};
  // The device knows it as the position at which it finds nothing finite.
  if (random.OneIn(20)) {
    job.sampling.top_k = static_cast<int>(job.prompt.size()) + random.Below(job.new_tokens);
  }
  if (salted) job.cache_salt = std::string(static_cast<std::size_t>(random.Below(3)), 's');
  return job;
}

// Makes it a job of which the prompt is to be scored.
void MakeScore(Random& random, Job& job) {
  job.new_tokens = 0;
  job.samples = 1;
  job.given.clear();
  while (job.given.size() < job.prompt.size()) job.given.push_back(random.Below(50));
  if (job.sampling.top_k > 0)
    job.sampling.top_k = random.Between(1, static_cast<int>(job.prompt.size()));
}

void AddDeadlines(Random& random, Job& job) {
  if (random.OneIn(2)) job.first_token_by = job.arrival + random.Microseconds(1, 400'000);
  if (random.OneIn(2)) job.done_by = job.arrival + random.Microseconds(1, 1'000'000);
}

}  // namespace

Workload MakeWorkload(Random& random) {
  Workload workload{.options = MakeOptions(random)};
  const bool salted = random.OneIn(2);
  const int hurried_one_in = random.Pick({4, 1000});
  const int scored_one_in = random.Pick({3, 1000, 1000});
  Time arrival{std::chrono::hours(1)};
  RequestId id = 0;
  for (int left = random.Between(2, 24); left > 0; --left) {
    if (random.OneIn(2)) arrival += random.Microseconds(0, random.Pick({1'000, 20'000, 150'000}));
    SimulatedRequest request{.job = MakeJob(random, workload.options, salted)};
    request.job.id = ++id;
    request.job.arrival = arrival;
    if (random.OneIn(hurried_one_in)) AddDeadlines(random, request.job);
    if (random.OneIn(scored_one_in)) {
      MakeScore(random, request.job);
      request.job.first_token_by = Time::max();
    }
    request.backlog_limit = random.Pick({1, 4, 1000, 1000});
    request.consumed_per_step = random.Pick({1, 1, 4});
    workload.requests.push_back(std::move(request));
  }
  workload.meddles_one_in = random.Pick({2, 10, 40, 100'000});
  workload.shut_down_after =
      random.OneIn(8) ? random.Between(0, 60) : std::numeric_limits<int>::max();
  workload.slow_steps_one_in = random.Pick({50, 100'000});
  return workload;
}

}  // namespace codegen::runtime
