// SPDX-License-Identifier: Apache-2.0
#include "runtime/scheduler.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace codegen::runtime {
namespace {

bool Contains(const std::vector<TokenId>& ids, TokenId id) {
  return std::ranges::find(ids, id) != ids.end();
}

int Urgency(const Sequence& sequence) {
  return sequence.aged ? std::numeric_limits<int>::min() : sequence.job->priority;
}

// Whether `a` is served before `b`.
bool RanksBefore(const Sequence* a, const Sequence* b) {
  return std::tuple(Urgency(*a), a->id) < std::tuple(Urgency(*b), b->id);
}

absl::Status LogitsNotFinite() {
  return absl::InternalError("the model produced logits that are not finite");
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), memory_(options.memory), plan_(options.memory.cache.block_tokens) {}

// What comes and goes.

void Scheduler::Add(Job job) {
  CODEGEN_DCHECK(EverFits(static_cast<int>(job.prompt.size()) + job.new_tokens));
  const auto shared = std::make_shared<const Job>(std::move(job));
  auto& samples = requests_[shared->id];
  for (int i = 0; i < shared->samples; ++i) {
    samples.push_back(std::make_unique<Sequence>());
    Sequence& sequence = *samples.back();
    sequence.id = {.request = shared->id, .sample = i};
    sequence.job = shared;
    sequence.tokens = shared->prompt;
    sequence.penalties = shared->penalties;
    sequence.timeline.queued = shared->arrival;
    if (DeadlineOf(sequence) != Time::max()) deadlines_.emplace(DeadlineOf(sequence), sequence.id);
    if (i == 0) {
      Wait(sequence, shared->arrival);
    } else {
      sequence.phase = Phase::kHeld;
      ++held_or_parked_;
    }
  }
}

Sequence* Scheduler::Find(SampleId id) const {
  const auto found = requests_.find(id.request);
  if (found == requests_.end()) return nullptr;
  return found->second[static_cast<std::size_t>(id.sample)].get();
}

void Scheduler::End(RequestId request, FinishReason reason, const absl::Status& status) {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return;
  const int samples = static_cast<int>(found->second.size());
  for (int i = 0; i < samples; ++i) {
    if (Sequence* const sequence = Find({request, i})) EndSequence(*sequence, reason, status);
  }
}

void Scheduler::EndAll(FinishReason reason, const absl::Status& status) {
  std::vector<RequestId> all;
  for (const auto& [id, samples] : requests_) all.push_back(id);
  std::ranges::sort(all);
  for (const RequestId id : all) End(id, reason, status);
}

void Scheduler::Drop(SampleId id) {
  if (Sequence* const sequence = Find(id)) Erase(*sequence);
}

void Scheduler::EndSequence(Sequence& sequence, FinishReason reason, const absl::Status& status) {
  Emit(sequence, {.kind = Event::Kind::kEnd, .reason = reason, .status = status});
  Erase(sequence);
}

void Scheduler::Erase(Sequence& sequence) {
  if (sequence.place >= 0)
    plan_.entries()[static_cast<std::size_t>(sequence.place)].sequence = nullptr;
  if (sequence.phase == Phase::kRunning) {
    StopRunning(sequence);
  } else {
    StopWaiting(sequence);
  }
  deadlines_.erase({DeadlineOf(sequence), sequence.id});
  if (sequence.id.sample == 0) ReleaseHeld(sequence);

  const auto found = requests_.find(sequence.id.request);
  auto& samples = found->second;
  samples[static_cast<std::size_t>(sequence.id.sample)].reset();
  if (std::ranges::none_of(samples, [](const auto& sample) { return sample != nullptr; }))
    requests_.erase(found);
}

// The others of a request need not wait for its first sample any longer.
void Scheduler::ReleaseHeld(const Sequence& first) {
  for (int i = 1; i < first.job->samples; ++i) {
    Sequence* const sequence = Find({first.id.request, i});
    if (sequence == nullptr || sequence->phase != Phase::kHeld) continue;
    StopWaiting(*sequence);
    Wait(*sequence, now_);
  }
}

void Scheduler::Pause(SampleId id) {
  Sequence* const sequence = Find(id);
  if (sequence == nullptr) return;
  const bool waits = sequence->phase == Phase::kWaiting;
  if (waits) StopWaiting(*sequence);
  sequence->paused = true;
  if (waits) Wait(*sequence, now_);
}

void Scheduler::Resume(SampleId id) {
  Sequence* const sequence = Find(id);
  if (sequence == nullptr) return;
  sequence->paused = false;
  if (sequence->phase != Phase::kParked) return;
  StopWaiting(*sequence);
  Wait(*sequence, now_);
}

Time Scheduler::DeadlineOf(const Sequence& sequence) const {
  const Job& job = *sequence.job;
  return sequence.drawn() == 0 ? std::min(job.first_token_by, job.done_by) : job.done_by;
}

void Scheduler::Expire() {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    Sequence* const sequence = Find(deadlines_.begin()->second);
    const bool first = deadlines_.begin()->first < sequence->job->done_by;
    EndSequence(
        *sequence, FinishReason::kDeadline,
        absl::DeadlineExceededError(first ? "first_token_by has passed" : "done_by has passed"));
  }
}

Time Scheduler::WakeUp() const {
  const Time deadline = deadlines_.empty() ? Time::max() : deadlines_.begin()->first;
  return std::min(deadline, WindowEnd(options_.policy, queue()));
}

// Waiting.

void Scheduler::Wait(Sequence& sequence, Time since) {
  sequence.phase = sequence.paused ? Phase::kParked : Phase::kWaiting;
  if (sequence.paused) {
    ++held_or_parked_;
    return;
  }
  sequence.waits_since = since;
  if (!sequence.aged) ageing_.emplace(AgesAt(sequence), sequence.id);
  waiting_[Urgency(sequence)].insert(&sequence);
  ++waiting_count_;
}

void Scheduler::StopWaiting(Sequence& sequence) {
  if (sequence.phase != Phase::kWaiting) {
    --held_or_parked_;
    return;
  }
  const auto line = waiting_.find(Urgency(sequence));
  line->second.erase(&sequence);
  if (line->second.empty()) waiting_.erase(line);
  --waiting_count_;
  ageing_.erase({AgesAt(sequence), sequence.id});
  // What has just arrived may do so after the last time that was told.
  sequence.waited += std::max(now_ - sequence.waits_since, Time::duration());
}

Time Scheduler::AgesAt(const Sequence& sequence) const {
  return sequence.waits_since + (options_.ageing - sequence.waited);
}

void Scheduler::Age() {
  while (!ageing_.empty() && ageing_.begin()->first <= now_) {
    Sequence* const sequence = Find(ageing_.begin()->second);
    StopWaiting(*sequence);
    sequence->aged = true;
    Wait(*sequence, now_);
  }
}

// The first in line: the oldest of those that have waited too long, else of the most urgent.
Sequence* Scheduler::NextWaiting() const {
  return waiting_.empty() ? nullptr : *waiting_.begin()->second.begin();
}

Queue Scheduler::queue() const {
  Queue queue{.waiting = waiting_count_, .oldest = Time::max(), .running = running()};
  for (const auto& [urgency, line] : waiting_) {
    queue.oldest = std::min(queue.oldest, (*line.begin())->job->arrival);
  }
  return queue;
}

// Running.

void Scheduler::Start() {
  EndIdleBatch();
  int may_start = MayStart(options_.policy, options_.max_batch, queue(), now_);
  while (Sequence* const next = NextWaiting()) {
    const bool full = running() == options_.max_batch;
    if (may_start > 0 && TryStart(*next)) {
      --may_start;
    } else if ((may_start == 0 && !full) || running_.empty() || !MakeRoomFor(*next)) {
      return;
    } else {
      ++may_start;  // in the place that has become free
    }
  }
}

// A static batch of which only paused samples are left must not keep the next one waiting.
void Scheduler::EndIdleBatch() {
  if (options_.policy.mode != BatchMode::kStatic || waiting_count_ == 0) return;
  if (!std::ranges::all_of(running_, [](const Sequence* sequence) { return sequence->paused; }))
    return;
  while (!running_.empty()) Preempt(*running_.back());
}

// Takes memory for all that is known of `sequence`, or for all that it can become; nothing if that
// is not there.
bool Scheduler::TryStart(Sequence& sequence) {
  const bool reserve = options_.kv_policy == KvPolicy::kReserve;
  const Job& job = *sequence.job;
  const int tokens = reserve ? static_cast<int>(job.prompt.size()) + job.new_tokens
                             : static_cast<int>(sequence.tokens.size());
  FindPrefix(sequence);
  // Those that run will want a block each before long; a start must not take the last from them.
  const int spare = reserve ? 0 : running();
  const int blocks = memory_.BlocksFor(tokens) - static_cast<int>(sequence.table.blocks.size());
  if (memory_.available() < blocks + spare || !memory_.Grow(tokens, sequence.table)) {
    memory_.Release(sequence.table, step_);
    sequence.computed = 0;
    return false;
  }
  StopWaiting(sequence);
  sequence.phase = Phase::kRunning;
  running_.insert(std::ranges::upper_bound(running_, &sequence, RanksBefore), &sequence);
  if (sequence.timeline.scheduled == Time()) {
    sequence.timeline.scheduled = now_;
    sequence.cached_tokens = sequence.computed;
    if (!sequence.scores())
      counters_.looked_up_tokens += static_cast<std::int64_t>(job.prompt.size());
    counters_.found_tokens += sequence.computed;
    Emit(sequence, {.kind = Event::Kind::kStart});
  }
  return true;
}

// Lets `sequence` begin with what is there of its tokens. Those that yield a token are left.
void Scheduler::FindPrefix(Sequence& sequence) {
  const std::size_t most =
      sequence.scores() ? static_cast<std::size_t>(sequence.scored) : sequence.tokens.size() - 1;
  const std::span<const TokenId> known(sequence.tokens.data(), most);
  sequence.computed = memory_.Adopt(sequence.job->cache_salt, known, sequence.table);
  if (sequence.computed > 0 || sequence.id.sample == 0) return;
  const Sequence* const first = Find({sequence.id.request, 0});
  if (first == nullptr || first->phase != Phase::kRunning) return;
  const int shared = std::min(first->computed, static_cast<int>(sequence.job->prompt.size()) - 1);
  sequence.computed = memory_.Share(first->table, shared, sequence.table);
}

// Takes the place of someone who gets nothing done, or is less urgent. False if there is nobody; a
// static batch is never joined.
bool Scheduler::MakeRoomFor(const Sequence& sequence) {
  if (options_.policy.mode == BatchMode::kStatic) return false;
  Sequence* const least = LeastRunning();
  const bool may_preempt = options_.kv_policy == KvPolicy::kPreempt;
  if (!least->paused && !(may_preempt && Urgency(*least) > Urgency(sequence))) return false;
  Preempt(*least);
  return true;
}

// Who loses its memory first: the last in rank that is paused, else the last in rank.
Sequence* Scheduler::LeastRunning() const {
  const auto paused = std::find_if(running_.rbegin(), running_.rend(),
                                   [](const Sequence* sequence) { return sequence->paused; });
  return paused == running_.rend() ? running_.back() : *paused;
}

void Scheduler::Preempt(Sequence& sequence) {
  StopRunning(sequence);
  sequence.computed = 0;
  ++sequence.timeline.preemptions;
  ++counters_.preemptions;
  Wait(sequence, now_);
}

void Scheduler::StopRunning(Sequence& sequence) {
  memory_.Release(sequence.table, step_);
  running_.erase(std::ranges::find(running_, &sequence));
}

// Planning.

const StepPlan& Scheduler::Plan(Time now) {
  now_ = now;
  plan_.Clear();
  Expire();
  Age();
  Start();
  PlanContinuations();
  PlanPrompts();
  if (!plan_.empty()) ++step_;
  return plan_;
}

void Scheduler::PlanContinuations() {
  turn_.assign(running_.begin(), running_.end());
  for (Sequence* const sequence : turn_) {
    if (sequence->phase != Phase::kRunning || sequence->paused || sequence->pending() != 1)
      continue;
    if (GrowForNext(*sequence)) plan_.Add(*sequence, 1);
  }
}

// Finds room for the last token, taking it from others of less rank. False if `sequence` itself is
// the least and had to go.
bool Scheduler::GrowForNext(Sequence& sequence) {
  while (!memory_.Grow(static_cast<int>(sequence.tokens.size()), sequence.table)) {
    Sequence* const least = LeastRunning();
    Preempt(*least);
    if (least == &sequence) return false;
  }
  return true;
}

// Half of what is left for the first in rank, the rest for the others alike, what they leave for
// whoever can use it, in order.
void Scheduler::PlanPrompts() {
  turn_.clear();
  std::ranges::copy_if(running_, std::back_inserter(turn_), [](const Sequence* sequence) {
    return !sequence->paused && sequence->pending() > 1;
  });
  if (turn_.empty()) return;
  shares_.assign(turn_.size(), 0);
  int left = options_.step_tokens - plan_.rows();
  int logits = options_.max_batch - running();  // beyond a row for each that runs
  const auto give = [&](std::size_t i, int rows) {
    int given = std::min({rows, turn_[i]->pending() - shares_[i], left});
    if (turn_[i]->scores()) {
      const int own = shares_[i] == 0 ? 1 : 0;
      given = std::min(given, own + logits);
      logits -= std::max(given - own, 0);
    }
    shares_[i] += given;
    left -= given;
  };
  give(0, (left + 1) / 2);
  const int others = std::max(static_cast<int>(turn_.size()) - 1, 1);
  const int alike = std::max(left / others, options_.memory.cache.block_tokens);
  for (std::size_t i = 1; i < turn_.size(); ++i) give(i, alike);
  for (std::size_t i = 0; i < turn_.size(); ++i) give(i, left);
  for (std::size_t i = 0; i < turn_.size(); ++i) {
    if (shares_[i] > 0) plan_.Add(*turn_[i], shares_[i]);
  }
}

// What a step yields.

void Scheduler::Apply(std::span<const backend::SampledToken> drawn, Time now) {
  now_ = now;
  memory_.Complete(step_);
  std::size_t next = 0;
  for (const StepPlan::Entry& entry : plan_.entries()) {
    const auto tokens = drawn.subspan(next, static_cast<std::size_t>(entry.draws));
    next += tokens.size();
    Sequence* const sequence = entry.sequence;
    if (sequence == nullptr) continue;  // it ended while the step ran
    sequence->place = -1;
    sequence->computed += entry.rows;
    memory_.Keep(sequence->job->cache_salt,
                 std::span(sequence->tokens).first(static_cast<std::size_t>(sequence->computed)),
                 sequence->table);
    if (sequence->scores()) {
      Tell(*sequence, tokens);
    } else if (!tokens.empty()) {
      Draw(*sequence, tokens.front());
    }
  }
}

void Scheduler::Draw(Sequence& sequence, const backend::SampledToken& drawn) {
  const Job& job = *sequence.job;
  const TokenId token = drawn.id;
  if (token < 0) return End(sequence.id.request, FinishReason::kError, LogitsNotFinite());
  const bool first = sequence.drawn() == 0;
  if (first) sequence.timeline.first_token = now_;
  if (first && sequence.id.sample == 0)
    counters_.prompt_tokens += static_cast<std::int64_t>(job.prompt.size());
  if (Contains(job.stop_tokens, token)) return EndSequence(sequence, FinishReason::kStop, {});
  if (Contains(job.end_of_text, token)) return EndSequence(sequence, FinishReason::kEos, {});

  deadlines_.erase({DeadlineOf(sequence), sequence.id});
  sequence.tokens.push_back(token);
  sequence.penalties.Take(token);
  ++counters_.drawn_tokens;
  if (DeadlineOf(sequence) != Time::max()) deadlines_.emplace(DeadlineOf(sequence), sequence.id);
  Emit(sequence, {.kind = Event::Kind::kToken,
                  .token = token,
                  .logprob = drawn.logprob,
                  .time = now_,
                  .since_last = first ? Time::duration() : now_ - sequence.last_token});
  sequence.last_token = now_;
  if (first && sequence.id.sample == 0) ReleaseHeld(sequence);
  if (sequence.drawn() == job.new_tokens) EndSequence(sequence, FinishReason::kLength, {});
}

void Scheduler::Tell(Sequence& sequence, std::span<const backend::SampledToken> scored) {
  for (const backend::SampledToken& token : scored) {
    if (token.id < 0) return EndSequence(sequence, FinishReason::kError, LogitsNotFinite());
    if (sequence.scored++ == 0)
      counters_.prompt_tokens += static_cast<std::int64_t>(sequence.job->prompt.size());
    Emit(sequence, {.kind = Event::Kind::kScored, .token = token.id, .logprob = token.logprob});
  }
  if (sequence.pending() == 0) EndSequence(sequence, FinishReason::kLength, {});
}

void Scheduler::Emit(const Sequence& sequence, Event event) {
  event.id = sequence.id;
  event.timeline = sequence.timeline;
  event.cached_tokens = sequence.cached_tokens;
  events_.push_back(std::move(event));
}

}  // namespace codegen::runtime
