// SPDX-License-Identifier: Apache-2.0
//
// What a step costs on the host beside the device: Plan and Apply.
//
//   scheduler_bench
//
// The budget: 50 us for 256 live requests. A device that computes 256 rows takes milliseconds.
#include "runtime/scheduler.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

namespace codegen::runtime {
namespace {

constexpr int kRequests = 256;

// Steps of a scheduler that never runs out of requests. Their tokens differ, but for a common
// beginning.
class Loop {
 public:
  Loop(int prompt, int new_tokens)
      : prompt_(prompt), new_tokens_(new_tokens), scheduler_(Options(prompt + new_tokens)) {
    // Spread over their lives, as those of a server are.
    for (int i = 0; i < kRequests; ++i) Add(1 + i * new_tokens / kRequests);
    for (int i = 0; i < 2000; ++i) Step();
  }

  void Step() {
    now_ += std::chrono::milliseconds(20);
    const StepPlan& plan = scheduler_.Plan(now_);
    rows_ += plan.rows();
    drawn_.assign(plan.sampling().size(), {.id = 7});
    scheduler_.Apply(drawn_, now_);
    for (const Event& event : scheduler_.events()) {
      if (event.kind == Event::Kind::kEnd) ++ended_;
    }
    scheduler_.ClearEvents();
    for (; ended_ > 0; --ended_) Add(new_tokens_);
  }

  std::int64_t rows() const { return rows_; }

 private:
  static SchedulerOptions Options(int tokens) {
    SchedulerOptions options{.max_batch = kRequests, .step_tokens = 2 * kRequests};
    options.memory.cache.block_tokens = 16;
    options.memory.blocks = kRequests * (tokens / 16 + 2);
    options.memory.cache.quota = options.memory.blocks / 2;
    return options;
  }

  void Add(int new_tokens) {
    std::vector<TokenId> prompt(static_cast<std::size_t>(prompt_), 5);
    ++id_;
    prompt[prompt.size() / 2] = static_cast<TokenId>(id_ % 50'000);
    scheduler_.Add(
        {.id = id_, .prompt = std::move(prompt), .new_tokens = new_tokens, .arrival = now_});
  }

  int prompt_;
  int new_tokens_;
  Scheduler scheduler_;
  Time now_{std::chrono::hours(1)};
  RequestId id_ = 0;
  std::vector<backend::SampledToken> drawn_;
  std::int64_t rows_ = 0;
  int ended_ = 0;
};

// Prompts of range(0) tokens, and range(1) new ones for each.
void Steps(benchmark::State& state) {
  Loop loop(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)));
  const std::int64_t before = loop.rows();
  for (auto _ : state) loop.Step();
  state.counters["rows"] = benchmark::Counter(static_cast<double>(loop.rows() - before),
                                              benchmark::Counter::kAvgIterations);
}

// Almost all decode; then with more and more prompts.
BENCHMARK(Steps)
    ->Args({200, 1000})
    ->Args({1000, 1000})
    ->Args({200, 200})
    ->Args({200, 50})
    ->Args({1000, 100})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace codegen::runtime
