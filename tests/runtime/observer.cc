// SPDX-License-Identifier: Apache-2.0
#include "runtime/observer.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace codegen::runtime {
namespace {

// What a text yields that is scored: its own tokens, up to where nothing is finite.
WatchedSample ForeseenScore(WatchedSample sample) {
  const Job& job = *sample.job;
  std::uint64_t chain = kBeginning;
  for (std::size_t i = 0; i < job.prompt.size(); ++i)
    sample.chain.push_back(chain = Chained(chain, job.prompt[i], static_cast<std::int32_t>(i)));
  sample.expected = job.given;
  if (job.sampling.top_k == 0) return sample;
  sample.expected.resize(static_cast<std::size_t>(job.sampling.top_k) - 1);
  sample.reason = FinishReason::kError;
  return sample;
}

// The definition of what a sample yields: it sees nothing but its request.
WatchedSample Foreseen(const Job& job, int number) {
  WatchedSample sample{.id = {.request = job.id, .sample = number}, .job = &job};
  std::vector<TokenId> tokens = job.prompt;
  backend::Sampling sampling = job.sampling;
  sample::Penalties penalties = job.penalties;
  sampling.seed += static_cast<std::uint64_t>(number) * 0x9E3779B97F4A7C15U;
  std::uint64_t chain = kBeginning;
  if (!job.given.empty()) return ForeseenScore(std::move(sample));
  while (true) {
    for (std::size_t i = sample.chain.size(); i < tokens.size(); ++i) {
      sample.chain.push_back(chain = Chained(chain, tokens[i], static_cast<std::int32_t>(i)));
    }
    if (static_cast<int>(sample.expected.size()) == job.new_tokens) return sample;
    sampling.position = static_cast<std::int32_t>(tokens.size());
    sampling.changes = penalties.changes();
    const TokenId token = Drawn(chain, sampling);
    const auto among = [token](const std::vector<TokenId>& ids) {
      return std::ranges::find(ids, token) != ids.end();
    };
    if (token < 0 || among(job.stop_tokens) || among(job.end_of_text)) {
      sample.reason = token < 0                ? FinishReason::kError
                      : among(job.stop_tokens) ? FinishReason::kStop
                                               : FinishReason::kEos;
      return sample;
    }
    sample.expected.push_back(token);
    tokens.push_back(token);
    penalties.Take(token);
  }
}

}  // namespace

Observer::Observer(const SchedulerOptions& options, const Scheduler& scheduler,
                   const SimulatedDevice& device, Verdict& verdict, Visits& visits)
    : options_(options),
      scheduler_(scheduler),
      device_(device),
      verdict_(verdict),
      visits_(visits),
      holders_(static_cast<std::size_t>(options.memory.blocks)),
      touched_(holders_.size()),
      owners_(holders_.size()) {}

void Observer::BeforeAdd(const SimulatedRequest& request) {
  auto& samples = requests_.emplace_back();
  for (int i = 0; i < request.job.samples; ++i) {
    samples.push_back(Foreseen(request.job, i));
    const Phase phase = i == 0 ? Phase::kWaiting : Phase::kHeld;
    samples.back().phase = phase;
    samples.back().waits_since = request.job.arrival;
    ++live_;
    ++visits_.at(phase, Happening::kAdd);
  }
}

void Observer::BeforeEnd(RequestId request) {
  for (WatchedSample& sample : requests_[request - 1]) {
    if (sample.over) continue;
    sample.cancelled = true;
    ++visits_.at(sample.phase, Happening::kEnd);
  }
}

void Observer::Before(Happening happening, SampleId id) {
  WatchedSample& sample = at(id);
  ++visits_.at(sample.phase, happening);
  if (happening != Happening::kDrop || sample.over) return;
  sample.over = true;
  --live_;
}

void Observer::AfterCall() {
  Read(false, told_);
  Look();
  CheckWakeUp();
  if (running_step_ != nullptr) CheckMemory(running_step_);
}

void Observer::AfterPlan(const StepPlan& plan, Time now) {
  told_ = now;
  ForEachLive([&](WatchedSample& sample) {
    if (sample.phase != Phase::kWaiting) return;
    sample.aged |= sample.waited + (now - sample.waits_since) >= options_.ageing;
  });
  Read(true, now);
  ForEachLive([&](const WatchedSample& sample) {
    verdict_.Expect(!IsLate(sample, now), "a deadline has passed, and the sample goes on");
  });
  CompareWithBefore();
  if (!verdict_.ok()) return;
  CheckOrder();
  CheckStarts(now);
  CheckPreempted();
  if (options_.policy.mode == BatchMode::kContinuous) CheckPreemptive();
  CheckEntries(plan);
  CheckShares(plan);
  verdict_.Expect(scheduler_.WakeUp() > now, "it is to be woken in the past");
  Look();
  CheckWakeUp();
  running_step_ = &plan;
  CheckMemory(&plan);
  if (verdict_.ok()) CheckChain(plan);
}

void Observer::AfterApply(Time now) {
  told_ = now;
  Read(false, now);
  running_step_ = nullptr;
  Look();
  CheckWakeUp();
  CheckMemory(nullptr);
}

void Observer::AfterAll() {
  verdict_.Expect(live_ == 0, "a sample has never ended");
  verdict_.Expect(scheduler_.empty(), "a request is left behind");
  verdict_.Expect(scheduler_.running() == 0 && scheduler_.waiting() == 0,
                  "somebody is left behind");
  verdict_.Expect(scheduler_.WakeUp() == Time::max(), "a deadline is left behind");
  verdict_.Expect(scheduler_.memory().used() == 0, "a block is left behind");
  const SchedulerCounters& counters = scheduler_.counters();
  verdict_.Expect(counters.preemptions == preemptions_, "preemptions are counted wrongly");
  verdict_.Expect(counters.found_tokens <= counters.looked_up_tokens,
                  "more is found than was looked for");
}

// Events.

void Observer::Read(bool planned, Time now) {
  for (const Event& event : scheduler_.events()) {
    WatchedSample& sample = at(event.id);
    verdict_.Expect(!sample.over, "something happens after the end");
    if (!verdict_.ok()) return;
    verdict_.Expect(event.timeline.queued == sample.job->arrival, "the arrival is another");
    switch (event.kind) {
      case Event::Kind::kStart:
        verdict_.Expect(planned && event.timeline.scheduled == now, "it starts at another time");
        verdict_.Expect(!std::exchange(sample.started, true), "it starts for the first time again");
        break;
      case Event::Kind::kToken:
        ReadToken(sample, event, now);
        break;
      case Event::Kind::kScored:
        ReadScored(sample, event);
        break;
      case Event::Kind::kEnd:
        ReadEnd(sample, event, planned, now);
    }
  }
}

void Observer::ReadToken(WatchedSample& sample, const Event& event, Time now) {
  const auto next = static_cast<std::size_t>(sample.delivered);
  verdict_.Expect(next < sample.expected.size() && sample.expected[next] == event.token,
                  "a token is not that of the request alone");
  verdict_.Expect(event.since_last == (next == 0 ? Time::duration() : now - sample.last_token),
                  "the time between two tokens is wrong");
  verdict_.Expect(sample.started && event.time == now, "a token was drawn at another time");
  ++visits_.at(sample.phase, Happening::kToken);
  ++sample.delivered;
  sample.last_token = now;
}

void Observer::ReadScored(WatchedSample& sample, const Event& event) {
  const auto next = static_cast<std::size_t>(sample.delivered);
  verdict_.Expect(next < sample.expected.size() && sample.expected[next] == event.token,
                  "a token is scored that is not the next");
  verdict_.Expect(event.logprob == Likelihood(sample.chain[next]),
                  "a token is scored behind another text");
  ++visits_.at(sample.phase, Happening::kToken);
  ++sample.delivered;
}

void Observer::ReadEnd(WatchedSample& sample, const Event& event, bool planned, Time now) {
  sample.over = true;
  --live_;
  switch (event.reason) {
    case FinishReason::kCancelled:
      verdict_.Expect(sample.cancelled, "nobody has cancelled this");
      return;
    case FinishReason::kDeadline:
      verdict_.Expect(planned && IsLate(sample, now), "it was not late");
      verdict_.Expect(event.status.code() == absl::StatusCode::kDeadlineExceeded,
                      "the status of a deadline is another");
      ++visits_.at(sample.phase, Happening::kExpire);
      return;
    case FinishReason::kError:
      verdict_.Expect(IsFaulty(sample.id.request), "there was no error");
      break;
    default:
      verdict_.Expect(event.reason == sample.reason, "it ends for a reason of its own");
      verdict_.Expect(sample.delivered == static_cast<int>(sample.expected.size()),
                      "it ends too early");
  }
  verdict_.Expect(!planned, "it ends in no step");
  // The others of a request end with the one that failed, wherever they are.
  const bool runs = sample.phase == Phase::kRunning;
  if (runs || event.reason != FinishReason::kError) ++visits_.at(sample.phase, Happening::kFinish);
}

bool Observer::IsLate(const WatchedSample& sample, Time now) const {
  const Job& job = *sample.job;
  return now >= job.done_by || (sample.delivered == 0 && now >= job.first_token_by);
}

// When a deadline passes, or a window ends that holds back all that is there.
void Observer::CheckWakeUp() {
  Time expected = Time::max();
  ForEachLive([&](const WatchedSample& sample) {
    const Job& job = *sample.job;
    expected = std::min(expected, job.done_by);
    if (sample.delivered == 0) expected = std::min(expected, job.first_token_by);
    if (sample.phase == Phase::kWaiting && scheduler_.running() == 0)
      expected = std::min(expected, job.arrival + options_.policy.window);
  });
  verdict_.Expect(scheduler_.WakeUp() == expected, "it is to be woken at another time");
}

bool Observer::IsFaulty(RequestId request) const {
  return std::ranges::any_of(samples(request), [](const WatchedSample& sample) {
    return sample.reason == FinishReason::kError &&
           sample.delivered == static_cast<int>(sample.expected.size());
  });
}

// State.

// Brings what is known of each sample up to date.
void Observer::Look() {
  if (!verdict_.ok()) return;
  while (first_live_ <= requests_.size() &&
         std::ranges::all_of(samples(first_live_), &WatchedSample::over))
    ++first_live_;
  ForEachLive([](WatchedSample& sample) { sample.sequence = nullptr; });
  int found = 0;
  scheduler_.ForEach([&](const Sequence& sequence) {
    at(sequence.id).sequence = &sequence;
    verdict_.Expect(!at(sequence.id).over, "what is over is kept");
    ++found;
  });
  verdict_.Expect(found == live_, "a sample was forgotten");
  if (!verdict_.ok()) return;
  ForEachLive([this](WatchedSample& sample) { Remember(sample); });
  CheckCounts();
}

void Observer::Remember(WatchedSample& sample) {
  const Sequence& sequence = *sample.sequence;
  const bool waits = sequence.phase == Phase::kWaiting;
  const bool waited = sample.phase == Phase::kWaiting;
  if (waited && !waits) sample.waited += std::max(told_ - sample.waits_since, Time::duration());
  if (waits && !waited) sample.waits_since = told_;
  sample.phase = sequence.phase;
  sample.paused = sequence.paused;
  preemptions_ += sequence.timeline.preemptions - sample.preemptions;
  sample.preemptions = sequence.timeline.preemptions;
  verdict_.Expect((sequence.scores() ? sequence.scored : sequence.drawn()) == sample.delivered,
                  "a token was drawn, but not delivered");
  verdict_.Expect(!sample.cancelled, "it was cancelled, and goes on");
  verdict_.Expect(sequence.pending() >= 1, "there is nothing to compute");
}

void Observer::CheckCounts() {
  int running = 0;
  ForEachLive([&](const WatchedSample& sample) {
    if (sample.phase == Phase::kRunning) ++running;
    verdict_.Expect((sample.phase == Phase::kParked) <= sample.paused, "it is parked, not paused");
    verdict_.Expect(sample.phase != Phase::kWaiting || !sample.paused, "it waits, though paused");
    verdict_.Expect(sample.phase != Phase::kHeld || !samples(sample.id.request).front().over,
                    "it is held for one that is over");
    verdict_.Expect(
        sample.phase != Phase::kHeld || samples(sample.id.request).front().delivered == 0,
        "it is held for a prompt that was computed");
  });
  verdict_.Expect(scheduler_.running() == running, "the running are counted wrongly");
  verdict_.Expect(scheduler_.waiting() == live_ - running, "the waiting are counted wrongly");
  verdict_.Expect(running <= options_.max_batch, "the batch is too large");
}

}  // namespace codegen::runtime
