// SPDX-License-Identifier: Apache-2.0
//
// What must hold of a plan: progress, fairness, budgets.
#include <algorithm>
#include <limits>

#include "runtime/observer.h"

namespace codegen::runtime {
namespace {

using Samples = std::vector<const WatchedSample*>;

bool Includes(const Samples& samples, const WatchedSample* sample) {
  return std::ranges::find(samples, sample) != samples.end();
}

int PromptTokens(const WatchedSample& sample) {
  return static_cast<int>(sample.job->prompt.size());
}

}  // namespace

Observer::Rank Observer::RankOf(const WatchedSample& sample) const {
  return {sample.aged ? std::numeric_limits<int>::min() : sample.job->priority, sample.id};
}

// Sorts the samples by what this Plan did to them. `phase` is still that from before it.
void Observer::CompareWithBefore() {
  for (Samples* samples : {&ran_, &started_, &preempted_, &waiting_, &running_}) samples->clear();
  comes_back_ = false;
  bool bare = false;
  ForEachLive([this, &bare](const WatchedSample& sample) {
    const Sequence& sequence = *sample.sequence;
    const bool ran = sample.phase == Phase::kRunning;
    const bool runs = sequence.phase == Phase::kRunning;
    const int preemptions = sequence.timeline.preemptions - sample.preemptions;
    const bool returns = ran && runs && preemptions == 1;
    comes_back_ |= returns && sequence.computed > 0;
    bare |= returns && sequence.computed == 0;
    verdict_.Expect(returns || preemptions == (ran && !runs ? 1 : 0),
                    "it loses the place that it has just got");
    verdict_.Expect(sequence.paused == sample.paused, "a plan pauses nobody");
    if (ran) ran_.push_back(&sample);
    if (runs) running_.push_back(&sample);
    if (ran && !runs) preempted_.push_back(&sample);
    if (!ran && runs) started_.push_back(&sample);
    if (sequence.phase == Phase::kWaiting) waiting_.push_back(&sample);
  });
  // Who loses blocks of its own and finds their equals with others can come back at once, and leave
  // room for another to do so.
  verdict_.Expect(!bare || comes_back_, "it was preempted for nothing");
  visits_.at(Phase::kRunning, Happening::kPreempt) += static_cast<std::int64_t>(preempted_.size());
  for (const WatchedSample* sample : started_) {
    // Who was released from being held by a deadline has waited for a moment.
    ++visits_.at(sample->phase == Phase::kHeld ? Phase::kWaiting : sample->phase,
                 Happening::kStart);
  }
}

// Nobody starts before one who ranks before.
void Observer::CheckOrder() {
  for (const WatchedSample* started : started_) {
    for (const WatchedSample* waiting : waiting_) {
      verdict_.Expect(RankOf(*started) < RankOf(*waiting), "it starts out of turn");
    }
    verdict_.Expect(started->started, "it starts, and nobody is told");
  }
}

// As many start as may, unless memory is short.
void Observer::CheckStarts(Time now) {
  const auto preempted = std::ranges::count_if(
      waiting_, [this](const WatchedSample* sample) { return Includes(preempted_, sample); });
  const int started = static_cast<int>(started_.size());
  const int may = MayHaveStarted(
      started + static_cast<int>(waiting_.size()) - static_cast<int>(preempted), now);
  verdict_.Expect(started <= may, "more start than may");
  if (started >= may || waiting_.empty() || !preempted_.empty() || comes_back_) return;

  const WatchedSample& next = **std::ranges::min_element(
      waiting_, {}, [this](const WatchedSample* sample) { return RankOf(*sample); });
  const bool reserve = options_.kv_policy == KvPolicy::kReserve;
  const int drawn = next.job->given.empty() ? next.delivered : 0;
  const int tokens = PromptTokens(next) + (reserve ? next.job->new_tokens : drawn);
  const int spare = reserve ? 0 : scheduler_.running();
  verdict_.Expect(scheduler_.memory().available() < BlocksFor(tokens) + spare ||
                      scheduler_.running() == options_.max_batch,
                  "it waits, though there is room");
}

// By the rules of BatchPolicy, for `waiting` at the beginning.
int Observer::MayHaveStarted(int waiting, Time now) const {
  const bool any = options_.policy.mode == BatchMode::kContinuous
                       ? !ran_.empty()
                       : std::ranges::any_of(ran_, [this](const WatchedSample* sample) {
                           return Includes(running_, sample);
                         });
  if (any) return options_.policy.mode == BatchMode::kContinuous ? options_.max_batch : 0;
  Time oldest = Time::max();
  for (const Samples* samples : {&started_, &waiting_}) {
    for (const WatchedSample* sample : *samples) oldest = std::min(oldest, sample->job->arrival);
  }
  if (waiting >= options_.max_batch || now - oldest >= options_.policy.window) {
    return options_.max_batch;
  }
  int reached = 0;
  for (const int size : options_.policy.preferred) {
    if (size <= waiting) reached = std::max(reached, size);
  }
  return reached;
}

// While somebody waits, nobody has a place who is paused or less urgent. Only where a window held
// the start back it may be so for a step.
void Observer::CheckPreemptive() {
  if (ran_.empty()) return;
  for (const WatchedSample* waiting : waiting_) {
    for (const WatchedSample* running : running_) {
      verdict_.Expect(!running->paused, "it waits for one that is paused");
      if (options_.kv_policy == KvPolicy::kReserve) continue;
      verdict_.Expect(RankOf(*running).first <= RankOf(*waiting).first,
                      "it waits for one that is less urgent");
    }
  }
}

// The paused go first, then the last in rank; and nobody for one that has just come.
void Observer::CheckPreempted() {
  const bool idle =
      options_.policy.mode == BatchMode::kStatic && running_.size() == started_.size();
  for (const WatchedSample* preempted : preempted_) {
    verdict_.Expect(preempted->sequence->computed == 0, "what was taken away counts as computed");
    if (preempted->paused || idle) continue;
    verdict_.Expect(options_.kv_policy == KvPolicy::kPreempt, "what was reserved is taken away");
    for (const WatchedSample* running : running_) {
      verdict_.Expect(!running->paused, "a paused one keeps what another loses");
      verdict_.Expect(RankOf(*running) < RankOf(*preempted), "it was not its turn to lose");
    }
  }
}

void Observer::CheckEntries(const StepPlan& plan) {
  int rows = 0;
  std::vector<const Sequence*> planned;
  for (const StepPlan::Entry& entry : plan.entries()) {
    const Sequence* const sequence = entry.sequence;
    verdict_.Expect(sequence != nullptr && sequence->phase == Phase::kRunning,
                    "what does not run is planned");
    if (!verdict_.ok()) return;
    verdict_.Expect(!sequence->paused, "a paused one is planned");
    verdict_.Expect(entry.rows > 0 && entry.rows <= sequence->pending(), "rows of nothing");
    const int scored = std::max(sequence->computed + entry.rows - sequence->scored, 0);
    const int drawn = entry.rows == sequence->pending() ? 1 : 0;
    verdict_.Expect(entry.draws == (sequence->scores() ? std::min(scored, entry.rows) : drawn),
                    "it draws too early");
    verdict_.Expect(std::ranges::find(planned, sequence) == planned.end(), "it is planned twice");
    planned.push_back(sequence);
    rows += entry.rows;
  }
  verdict_.Expect(rows == plan.rows() && rows <= options_.step_tokens, "the budget is exceeded");
  verdict_.Expect(static_cast<int>(plan.sampling().size()) <= options_.max_batch,
                  "more logits are wanted than there is room for");
  for (const WatchedSample* sample : running_) {
    verdict_.Expect(!plan.empty() || sample->paused, "something could run, and nothing does");
    verdict_.Expect(!plan.empty() || waiting_.empty(), "it waits for a batch that is paused");
    if (sample->paused) continue;
    if (sample->sequence->pending() > 1) continue;
    verdict_.Expect(std::ranges::find(planned, sample->sequence) != planned.end(),
                    "a continuation was left out");
  }
}

// The budget is used up, half of what continuations leave of it by the first in rank. Nobody else
// gets less than an equal share of the other half, if that is a block, and the next always
// something. What is scored gets the rows that there are logits for.
void Observer::CheckShares(const StepPlan& plan) {
  Samples prompts;
  int left = options_.step_tokens;
  int pending = 0;
  int to_score = 0;  // beyond one row each
  for (const WatchedSample* sample : running_) {
    if (sample->paused) continue;
    if (sample->sequence->pending() > 1) prompts.push_back(sample);
    if (sample->sequence->pending() == 1) --left;
    const bool scores = sample->sequence->scores();
    pending += scores ? 1 : sample->sequence->pending();
    if (scores) to_score += sample->sequence->pending() - 1;
  }
  pending += std::min(to_score, options_.max_batch - static_cast<int>(running_.size()));
  if (prompts.empty()) return;
  verdict_.Expect(plan.rows() == std::min(pending, options_.step_tokens),
                  "the budget is not used up");
  std::ranges::sort(prompts, {}, [this](const WatchedSample* sample) { return RankOf(*sample); });
  const int others = static_cast<int>(prompts.size()) - 1;
  const int alike = others == 0 ? 0 : left / 2 / others;
  const int block = options_.memory.cache.block_tokens;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    int rows = 0;
    for (const StepPlan::Entry& entry : plan.entries()) {
      if (entry.sequence == prompts[i]->sequence) rows = entry.rows;
    }
    int share = alike >= block ? alike : 0;
    if (i == 0) share = (left + 1) / 2;
    if (i == 1) share = std::min(left / 2, std::max(alike, block));
    if (prompts[i]->sequence->scores()) share = std::min(share, 1);
    verdict_.Expect(rows >= std::min(share, prompts[i]->sequence->pending()),
                    "a prompt gets less than its share");
  }
}

}  // namespace codegen::runtime
