// SPDX-License-Identifier: Apache-2.0
//
// The scheduler by behaviour, each case small enough to follow by hand; simulation_test.cc has the
// rest. Names that begin with a letter and a number are rows of the catalogue of hostile inputs.
#include "runtime/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace codegen::runtime {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr Time kDawn{std::chrono::hours(1)};
constexpr TokenId kEnd = 99;

// Plans and applies by turns with a device that draws the number of tokens that went before.
class Desk {
 public:
  explicit Desk(const SchedulerOptions& options) : scheduler_(options) {}

  Scheduler& scheduler() { return scheduler_; }
  Time now() const { return now_; }
  void Wait(Time::duration duration) { now_ += duration; }

  void Add(Job job) {
    job.arrival = now_;
    scheduler_.Add(std::move(job));
  }

  // The rows of each sample in the next step; Finish has to follow.
  std::map<SampleId, int> Begin() {
    std::map<SampleId, int> rows;
    const StepPlan& plan = scheduler_.Plan(now_);
    drawn_.clear();
    for (const StepPlan::Entry& entry : plan.entries()) rows[entry.sequence->id] = entry.rows;
    for (const backend::Sampling& sampling : plan.sampling()) {
      drawn_.push_back({.id = sampling.position == ends_at_ ? kEnd : sampling.position});
    }
    return rows;
  }

  void Finish() {
    now_ += milliseconds(1);
    scheduler_.Apply(drawn_, now_);
    for (const Event& event : scheduler_.events()) {
      if (event.kind == Event::Kind::kToken) tokens_[event.id].push_back(event.token);
      if (event.kind == Event::Kind::kEnd) ends_[event.id].push_back(event.reason);
    }
    scheduler_.ClearEvents();
  }

  std::map<SampleId, int> Step() {
    std::map<SampleId, int> rows = Begin();
    Finish();
    return rows;
  }

  // Steps until nothing is left; how many it took.
  int Drain() {
    int steps = 0;
    while (!scheduler_.empty() && steps < 10'000) {
      Step();
      ++steps;
    }
    return steps;
  }

  // False if that does not come.
  bool StepUntilPreempted() {
    for (int i = 0; i < 1'000 && scheduler_.counters().preemptions == 0; ++i) Step();
    return scheduler_.counters().preemptions > 0;
  }

  void EndAt(int position) { ends_at_ = position; }
  void FailNext() { drawn_.assign(drawn_.size(), {.id = -1}); }

  std::vector<TokenId> tokens(RequestId id, int sample = 0) { return tokens_[{id, sample}]; }
  std::vector<FinishReason> ends(RequestId id, int sample = 0) { return ends_[{id, sample}]; }

 private:
  Scheduler scheduler_;
  Time now_ = kDawn;
  int ends_at_ = -1;
  std::vector<backend::SampledToken> drawn_;
  std::map<SampleId, std::vector<TokenId>> tokens_;
  std::map<SampleId, std::vector<FinishReason>> ends_;
};

SchedulerOptions Blocks(int blocks) { return {.memory = {.blocks = blocks}}; }

Job Ordinary(RequestId id, int prompt, int new_tokens) {
  return {.id = id,
          .prompt = std::vector<TokenId>(static_cast<std::size_t>(prompt), TokenId(id)),
          .new_tokens = new_tokens,
          .end_of_text = {kEnd}};
}

Job Urgent(RequestId id, int prompt, int new_tokens) {
  Job job = Ordinary(id, prompt, new_tokens);
  job.priority = -1;
  return job;
}

TEST(Scheduler, ComputesThePromptAndThenOneTokenAStep) {
  Desk desk(Blocks(8));
  desk.Add(Ordinary(1, 20, 3));

  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{1, 0}, 20)));
  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{1, 0}, 1)));
  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{1, 0}, 1)));

  EXPECT_THAT(desk.tokens(1), ElementsAre(20, 21, 22));
  EXPECT_THAT(desk.ends(1), ElementsAre(FinishReason::kLength));
  EXPECT_TRUE(desk.scheduler().empty());
  EXPECT_EQ(desk.scheduler().memory().used(), 0);
}

TEST(Scheduler, EndsAtTheEndOfTextWithoutIt) {
  Desk desk(Blocks(8));
  desk.EndAt(5);
  desk.Add(Ordinary(1, 4, 10));

  desk.Drain();

  EXPECT_THAT(desk.tokens(1), ElementsAre(4));
  EXPECT_THAT(desk.ends(1), ElementsAre(FinishReason::kEos));
}

TEST(Scheduler, LogitsThatAreNotFiniteEndTheWholeRequestAndNobodyElse) {
  Desk desk(Blocks(8));
  Job job = Ordinary(1, 4, 10);
  job.samples = 2;
  desk.Add(job);
  desk.Begin();
  desk.Add(Ordinary(2, 4, 2));
  desk.FailNext();
  desk.Finish();

  desk.Drain();

  EXPECT_THAT(desk.ends(1, 0), ElementsAre(FinishReason::kError));
  EXPECT_THAT(desk.ends(1, 1), ElementsAre(FinishReason::kError));
  EXPECT_THAT(desk.ends(2), ElementsAre(FinishReason::kLength));
}

TEST(Scheduler, ComputesASharedPromptOnce) {
  Desk desk(Blocks(40));
  Job job = Ordinary(1, 64 + 3, 4);
  job.samples = 3;
  desk.Add(job);

  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{1, 0}, 67)));
  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{1, 0}, 1), Pair(SampleId{1, 1}, 3),
                                       Pair(SampleId{1, 2}, 3)));
}

TEST(Scheduler, Q01ShortPromptBehindALongOneGetsItsTokenWithinThreeSteps) {
  for (const int block_tokens : {16, 64, 128}) {
    SchedulerOptions options{.step_tokens = 100, .memory = {.blocks = 300}};
    options.memory.cache.block_tokens = block_tokens;
    Desk desk(options);
    desk.Add(Ordinary(1, 2032, 16));
    desk.Step();
    desk.Add(Ordinary(2, 16, 1));

    for (int i = 0; i < 3; ++i) desk.Step();

    EXPECT_THAT(desk.ends(2), ElementsAre(FinishReason::kLength)) << block_tokens;
  }
}

TEST(Scheduler, Q01LongPromptTakesAtMostTwiceItsTimeWhileShortOnesCome) {
  SchedulerOptions options{.step_tokens = 100, .memory = {.blocks = 1000}};
  Desk desk(options);
  desk.Add(Ordinary(1, 2000, 1));

  int steps = 0;
  for (RequestId id = 2; desk.ends(1).empty(); ++id, ++steps) {
    desk.Add(Ordinary(id, 90, 1));
    desk.Step();
  }

  EXPECT_LE(steps, 40);
}

TEST(Scheduler, Q02EveryContinuationRunsInEveryStepOfAnEndlessStreamOfPrompts) {
  Desk desk({.step_tokens = 80, .memory = {.blocks = 1000}});
  desk.Add(Ordinary(1, 4, 50));
  desk.Add(Ordinary(2, 4, 50));
  desk.Step();

  for (RequestId id = 3; id < 50; ++id) {
    desk.Add(Ordinary(id, 500, 1));
    const auto rows = desk.Step();
    EXPECT_EQ(rows.at({1, 0}), 1);
    EXPECT_EQ(rows.at({2, 0}), 1);
  }
}

TEST(Scheduler, Q03AnEndlessStreamOfUrgentRequestsIsOutwaited) {
  Desk desk({.max_batch = 1, .ageing = milliseconds(100), .memory = {.blocks = 8}});
  const Time added = desk.now();
  desk.Add(Ordinary(1, 4, 2));

  for (RequestId id = 2; desk.tokens(1).empty(); ++id) {
    ASSERT_LT(id, 1000U);
    desk.Add(Urgent(id, 4, 2));
    desk.Step();
  }

  EXPECT_LE(desk.now() - added, milliseconds(100 + 2 + 1));
}

TEST(Scheduler, Q03TimeThatWasSpentRunningDoesNotAge) {
  Desk desk({.max_batch = 1, .ageing = milliseconds(20), .memory = {.blocks = 8}});
  desk.Add(Ordinary(1, 4, 60));
  for (int i = 0; i < 40; ++i) desk.Step();

  desk.Add(Urgent(2, 4, 2));

  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{2, 0}, 4)));
  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{2, 0}, 1)));
}

TEST(Scheduler, Q04DeadlineEndsWhatWaitsComputesDrawsOrIsPaused) {
  Desk desk({.max_batch = 3, .step_tokens = 40, .memory = {.blocks = 40}});
  for (RequestId id = 1; id <= 4; ++id) {
    Job job = Ordinary(id, id == 3 ? 300 : 4, 100);
    job.done_by = desk.now() + milliseconds(3);
    desk.Add(job);
  }
  desk.Step();
  desk.scheduler().Pause({2, 0});
  desk.Step();
  EXPECT_EQ(desk.scheduler().WakeUp(), kDawn + milliseconds(3));
  desk.Wait(milliseconds(1));

  EXPECT_THAT(desk.Step(), IsEmpty());

  for (RequestId id = 1; id <= 4; ++id) {
    EXPECT_THAT(desk.ends(id), ElementsAre(FinishReason::kDeadline)) << id;
  }
  EXPECT_THAT(desk.tokens(1), ElementsAre(4, 5));
  EXPECT_EQ(desk.scheduler().memory().used(), 0);
  EXPECT_EQ(desk.scheduler().WakeUp(), Time::max());
}

TEST(Scheduler, Q04FirstTokenByDoesNotMatterOnceItIsThere) {
  Desk desk(Blocks(8));
  Job job = Ordinary(1, 4, 10);
  job.first_token_by = desk.now() + milliseconds(2);
  desk.Add(job);

  desk.Drain();

  EXPECT_THAT(desk.ends(1), ElementsAre(FinishReason::kLength));
}

TEST(Scheduler, Q09WhatIsToldFirstWinsAndEndsOnce) {
  Desk desk(Blocks(8));
  desk.EndAt(4);
  desk.Add(Ordinary(1, 4, 10));
  desk.Add(Ordinary(2, 4, 10));

  desk.Begin();
  desk.scheduler().End(1, FinishReason::kCancelled, {});
  desk.Finish();
  desk.scheduler().End(2, FinishReason::kCancelled, {});
  desk.Step();

  EXPECT_THAT(desk.ends(1), ElementsAre(FinishReason::kCancelled));
  EXPECT_THAT(desk.ends(2), ElementsAre(FinishReason::kEos));
}

TEST(Scheduler, Q09OneThatWasPreemptedCanBeCancelledAndDropped) {
  Desk desk(Blocks(3));
  desk.Add(Ordinary(1, 16, 10));
  desk.Add(Ordinary(2, 15, 10));
  ASSERT_TRUE(desk.StepUntilPreempted());

  desk.scheduler().End(2, FinishReason::kCancelled, {});
  desk.scheduler().Drop({2, 0});
  desk.Drain();

  EXPECT_THAT(desk.ends(2), ElementsAre(FinishReason::kCancelled));
  EXPECT_THAT(desk.ends(1), ElementsAre(FinishReason::kLength));
}

TEST(Scheduler, Q10StartsWhenEveryBlockIsHeldByThePaused) {
  Desk desk({.max_batch = 4, .memory = {.blocks = 3}});
  desk.Add(Ordinary(1, 40, 8));
  desk.Step();
  ASSERT_EQ(desk.scheduler().memory().available(), 0);
  desk.scheduler().Pause({1, 0});
  desk.Add(Ordinary(2, 40, 2));
  desk.Add(Ordinary(3, 40, 2));

  EXPECT_EQ(desk.Step().count({2, 0}), 1U);

  for (int i = 0; i < 4; ++i) desk.Step();
  EXPECT_THAT(desk.ends(3), ElementsAre(FinishReason::kLength));
  desk.scheduler().Resume({1, 0});
  desk.Drain();
  EXPECT_THAT(desk.ends(1), ElementsAre(FinishReason::kLength));
}

TEST(Scheduler, Q11PreemptingAHolderOfSharedBlocksTakesItsOwnAlone) {
  SchedulerOptions options{.memory = {.blocks = 6}};
  options.memory.cache.quota = 6;
  Desk desk(options);
  Job first = Urgent(1, 33, 20);
  Job second = Ordinary(2, 33, 20);
  second.prompt = first.prompt;
  desk.Add(first);
  desk.Step();
  desk.Add(second);
  EXPECT_EQ(desk.Step().at({2, 0}), 1);

  desk.Add(Urgent(3, 40, 20));
  desk.Drain();

  EXPECT_GT(desk.scheduler().counters().preemptions, 0);
  EXPECT_EQ(desk.tokens(1), desk.tokens(2));
  EXPECT_EQ(desk.tokens(1).size(), 20U);
}

TEST(Scheduler, Q12CancellingARequestEndsTheSamplesThatAreLeft) {
  Desk desk(Blocks(100));
  Job job = Ordinary(1, 20, 10);
  job.samples = 16;
  desk.Add(job);
  desk.Step();
  desk.Step();
  desk.scheduler().Drop({1, 3});
  desk.scheduler().Drop({1, 7});

  desk.scheduler().End(1, FinishReason::kCancelled, {});
  desk.Step();

  for (int sample = 0; sample < 16; ++sample) {
    EXPECT_EQ(desk.ends(1, sample).size(), sample == 3 || sample == 7 ? 0U : 1U) << sample;
  }
  EXPECT_TRUE(desk.scheduler().empty());
}

TEST(Scheduler, R01PreemptsTheNewestAndItYieldsTheSameTokens) {
  Desk desk(Blocks(4));
  Desk alone(Blocks(4));
  desk.Add(Ordinary(1, 15, 30));
  desk.Add(Ordinary(2, 15, 30));
  alone.Add(Ordinary(2, 15, 30));

  ASSERT_TRUE(desk.StepUntilPreempted());
  EXPECT_EQ(desk.Step().count({1, 0}), 1U);
  desk.Drain();
  alone.Drain();

  EXPECT_EQ(desk.tokens(2), alone.tokens(2));
  EXPECT_EQ(desk.tokens(2).size(), 30U);
}

TEST(Scheduler, R02TwoWithRoomForOneAndAHalfDoNotThrash) {
  Desk desk(Blocks(9));
  desk.Add(Ordinary(1, 16, 80));
  desk.Add(Ordinary(2, 16, 80));

  const int steps = desk.Drain();

  EXPECT_THAT(desk.ends(1), ElementsAre(FinishReason::kLength));
  EXPECT_THAT(desk.ends(2), ElementsAre(FinishReason::kLength));
  EXPECT_LE(desk.scheduler().counters().preemptions, 2);
  EXPECT_LE(steps, 160);
}

TEST(Scheduler, R02ReservingPreemptsNobody) {
  SchedulerOptions options = Blocks(9);
  options.kv_policy = KvPolicy::kReserve;
  Desk desk(options);
  desk.Add(Ordinary(1, 16, 80));
  desk.Add(Ordinary(2, 16, 80));

  EXPECT_EQ(desk.Step().size(), 1U);
  EXPECT_EQ(desk.Drain(), 159);

  EXPECT_EQ(desk.scheduler().counters().preemptions, 0);
}

TEST(Scheduler, L02AStormOfCancellationsFreesEverything) {
  Desk desk(Blocks(500));
  for (RequestId id = 1; id <= 10'000; ++id) desk.Add(Ordinary(id, 20, 20));
  desk.Step();

  desk.Begin();
  for (RequestId id = 1; id <= 10'000; ++id) {
    desk.scheduler().End(id, FinishReason::kCancelled, {});
  }
  desk.Finish();

  for (RequestId id = 1; id <= 10'000; ++id) ASSERT_EQ(desk.ends(id).size(), 1U) << id;
  EXPECT_TRUE(desk.scheduler().empty());
  EXPECT_EQ(desk.scheduler().memory().used(), 0);
}

TEST(Scheduler, L03CancellingWhatWaitsLeavesWhatRunsAlone) {
  Desk desk({.max_batch = 1, .memory = {.blocks = 8}});
  desk.Add(Ordinary(1, 4, 6));
  desk.Add(Ordinary(2, 4, 6));
  desk.Step();

  desk.scheduler().End(2, FinishReason::kCancelled, {});

  EXPECT_EQ(desk.Drain(), 5);
  EXPECT_THAT(desk.ends(1), ElementsAre(FinishReason::kLength));
  EXPECT_THAT(desk.ends(2), ElementsAre(FinishReason::kCancelled));
}

TEST(Scheduler, APausedSampleKeepsItsMemoryWhileNobodyWantsIt) {
  Desk desk(Blocks(8));
  desk.Add(Ordinary(1, 20, 4));
  desk.Step();
  desk.scheduler().Pause({1, 0});

  EXPECT_THAT(desk.Step(), IsEmpty());
  EXPECT_EQ(desk.scheduler().running(), 1);
  desk.scheduler().Resume({1, 0});

  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{1, 0}, 1)));
}

TEST(Scheduler, AStaticBatchIsNotJoinedInPlaceOfAPausedSample) {
  SchedulerOptions options{.max_batch = 2, .memory = {.blocks = 8}};
  options.policy.mode = BatchMode::kStatic;
  Desk desk(options);
  desk.Add(Ordinary(1, 4, 6));
  desk.Add(Ordinary(2, 4, 6));
  desk.Add(Ordinary(3, 4, 1));
  desk.Step();
  desk.scheduler().Pause({2, 0});

  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{1, 0}, 1)));
  desk.scheduler().Pause({1, 0});

  EXPECT_THAT(desk.Step(), ElementsAre(Pair(SampleId{3, 0}, 4)));
}

TEST(Scheduler, N01AnotherSaltFindsNothing) {
  SchedulerOptions options = Blocks(20);
  options.memory.cache.quota = 20;
  Desk desk(options);
  Job job = Ordinary(1, 65, 1);
  job.cache_salt = "a";
  desk.Add(job);
  desk.Drain();

  job.id = 2;
  desk.Add(job);
  EXPECT_EQ(desk.Step().at({2, 0}), 1);
  job.id = 3;
  job.cache_salt = "b";
  desk.Add(job);

  EXPECT_EQ(desk.Step().at({3, 0}), 65);
  EXPECT_EQ(desk.scheduler().counters().found_tokens, 64);
}

}  // namespace
}  // namespace codegen::runtime
