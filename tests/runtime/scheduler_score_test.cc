// SPDX-License-Identifier: Apache-2.0
//
// What is scored, among what is completed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "runtime/scheduler.h"

namespace codegen::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A text to be scored of which each token is its place.
Job ToScore(RequestId id, int tokens) {
  Job job{.id = id, .new_tokens = 0, .sampling = {.logprob = true}};
  job.prompt.resize(static_cast<std::size_t>(tokens) - 1);
  std::iota(job.prompt.begin(), job.prompt.end(), 0);
  job.given.resize(job.prompt.size());
  std::iota(job.given.begin(), job.given.end(), 1);
  return job;
}

Job ToComplete(RequestId id, int prompt, int new_tokens) {
  return {.id = id,
          .prompt = std::vector<TokenId>(static_cast<std::size_t>(prompt), 7),
          .new_tokens = new_tokens};
}

// Runs steps on a device that finds a given token as likely as its position.
class ScoringDevice {
 public:
  explicit ScoringDevice(const SchedulerOptions& options)
      : options_(options), scheduler_(options) {}

  Scheduler& scheduler() { return scheduler_; }
  void FailNext() { fails_ = true; }

  // Returns how many rows of each request the step had. While it runs, something may happen.
  std::map<RequestId, int> Step(const std::function<void()>& happens = [] {}) {
    const StepPlan& plan = scheduler_.Plan(Time());
    EXPECT_LE(static_cast<int>(plan.sampling().size()), options_.max_batch);
    EXPECT_EQ(plan.sampling().size(), plan.view().logit_rows.size());
    std::map<RequestId, int> rows;
    for (const StepPlan::Entry& entry : plan.entries())
      rows[entry.sequence->id.request] = entry.rows;
    const std::vector<backend::SampledToken> tokens = Compute(plan);
    happens();
    scheduler_.Apply(tokens, Time());
    for (const Event& event : scheduler_.events()) {
      if (event.kind == Event::Kind::kScored) {
        EXPECT_EQ(event.logprob, static_cast<float>(event.token));
        scored_[event.id.request].push_back(event.token);
      }
      if (event.kind == Event::Kind::kToken) ++drawn_[event.id.request];
      if (event.kind == Event::Kind::kEnd) ends_[event.id.request].push_back(event.reason);
    }
    scheduler_.ClearEvents();
    return rows;
  }

  int Drain() {
    int steps = 0;
    for (; !scheduler_.empty() && steps < 1000; ++steps) Step();
    return steps;
  }

  std::vector<TokenId> scored(RequestId id) { return scored_[id]; }
  int drawn(RequestId id) { return drawn_[id]; }
  std::vector<FinishReason> ends(RequestId id) { return ends_[id]; }

 private:
  // The row of a token is that of its own position, and yields the next.
  std::vector<backend::SampledToken> Compute(const StepPlan& plan) {
    std::vector<backend::SampledToken> tokens;
    const backend::Rows rows = plan.view();
    for (std::size_t i = 0; i < plan.sampling().size(); ++i) {
      const backend::Sampling& sampling = plan.sampling()[i];
      const std::int32_t at = rows.positions[static_cast<std::size_t>(rows.logit_rows[i])];
      EXPECT_EQ(sampling.position, at + 1);
      const TokenId id = sampling.given >= 0 ? sampling.given : 5;
      tokens.push_back({.id = fails_ ? -1 : id, .logprob = static_cast<float>(at + 1)});
    }
    fails_ = false;
    return tokens;
  }

  const SchedulerOptions options_;
  Scheduler scheduler_;
  bool fails_ = false;
  std::map<RequestId, std::vector<TokenId>> scored_;
  std::map<RequestId, int> drawn_;
  std::map<RequestId, std::vector<FinishReason>> ends_;
};

TEST(SchedulerScore, TellsEachTokenOnceInOrderAndDrawsNone) {
  for (const int max_batch : {1, 3, 8, 64}) {
    ScoringDevice device({.max_batch = max_batch, .step_tokens = 64, .memory = {.blocks = 8}});
    const Job job = ToScore(1, 51);
    device.scheduler().Add(job);

    const int steps = device.Drain();

    EXPECT_EQ(steps, (50 + max_batch - 1) / max_batch);
    EXPECT_EQ(device.scored(1), job.given);
    EXPECT_EQ(device.drawn(1), 0);
    EXPECT_THAT(device.ends(1), ElementsAre(FinishReason::kLength));
    EXPECT_EQ(device.scheduler().memory().used(), 0);
    EXPECT_EQ(device.scheduler().counters().prompt_tokens, 50);
    EXPECT_EQ(device.scheduler().counters().drawn_tokens, 0);
  }
}

TEST(SchedulerScore, GetsTheLogitsThatAreLeftBesideThoseThatRun) {
  ScoringDevice device({.max_batch = 6, .step_tokens = 64, .memory = {.blocks = 32}});
  for (const RequestId id : {1U, 2U, 3U}) device.scheduler().Add(ToComplete(id, 4, 30));
  device.Step();
  device.scheduler().Add(ToScore(4, 40));
  device.scheduler().Add(ToScore(5, 40));

  const std::map<RequestId, int> rows = device.Step();

  EXPECT_EQ(rows, (std::map<RequestId, int>{{1, 1}, {2, 1}, {3, 1}, {4, 2}, {5, 1}}));
  device.Drain();
  EXPECT_EQ(device.scored(4), ToScore(4, 40).given);
  EXPECT_EQ(device.scored(5), ToScore(5, 40).given);
  EXPECT_EQ(device.drawn(2), 30);
}

TEST(SchedulerScore, LeavesPromptsTheirRows) {
  ScoringDevice device({.max_batch = 4, .step_tokens = 64, .memory = {.blocks = 32}});
  device.scheduler().Add(ToScore(1, 100));
  device.scheduler().Add(ToComplete(2, 60, 3));

  EXPECT_EQ(device.Step(), (std::map<RequestId, int>{{1, 3}, {2, 60}}));
}

TEST(SchedulerScore, TellsNothingTwiceWhenItsMemoryWasLost) {
  ScoringDevice device(
      {.max_batch = 2, .step_tokens = 64, .memory = {.blocks = 6, .cache = {.quota = 6}}});
  device.scheduler().Add(ToComplete(1, 16, 60));
  const Job job = ToScore(2, 65);
  device.scheduler().Add(job);

  device.Drain();

  EXPECT_GT(device.scheduler().counters().preemptions, 0);
  EXPECT_EQ(device.scored(2), job.given);
  EXPECT_EQ(device.drawn(1), 60);
}

TEST(SchedulerScore, IsComputedAnewThoughItsBeginningIsCached) {
  ScoringDevice device(
      {.max_batch = 64, .step_tokens = 64, .memory = {.blocks = 8, .cache = {.quota = 8}}});
  for (const RequestId id : {1U, 2U}) {
    device.scheduler().Add(ToScore(id, 51));
    device.Drain();
    EXPECT_EQ(device.scored(id), ToScore(id, 51).given);
  }
}

TEST(SchedulerScore, LogitsThatAreNotFiniteEndItAndNobodyElse) {
  ScoringDevice device({.max_batch = 8, .step_tokens = 64, .memory = {.blocks = 8}});
  device.scheduler().Add(ToScore(1, 30));
  device.FailNext();
  device.Step();
  device.scheduler().Add(ToScore(2, 30));

  device.Drain();

  EXPECT_THAT(device.scored(1), IsEmpty());
  EXPECT_THAT(device.ends(1), ElementsAre(FinishReason::kError));
  EXPECT_THAT(device.ends(2), ElementsAre(FinishReason::kLength));
}

TEST(SchedulerScore, EndsWhileAStepRunsAndSaysNothingMore) {
  ScoringDevice device({.max_batch = 8, .step_tokens = 64, .memory = {.blocks = 8}});
  device.scheduler().Add(ToScore(1, 30));
  device.scheduler().Add(ToScore(2, 30));

  device.Step([&] { device.scheduler().End(1, FinishReason::kCancelled, {}); });
  device.Drain();

  EXPECT_THAT(device.scored(1), IsEmpty());
  EXPECT_THAT(device.ends(1), ElementsAre(FinishReason::kCancelled));
  EXPECT_EQ(device.scored(2), ToScore(2, 30).given);
}

}  // namespace
}  // namespace codegen::runtime
