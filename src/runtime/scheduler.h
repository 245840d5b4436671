// SPDX-License-Identifier: Apache-2.0
//
// What runs next: a pure object without clock, thread or device. It is told what arrives, what is
// cancelled and what time it is; it says what the next step computes; it is told what the step
// drew, and says what that means for each request.
//
//   scheduler.Add(job);
//   const StepPlan& plan = scheduler.Plan(now);
//   ... a device computes plan.view() and draws `tokens` ...
//   scheduler.Apply(tokens, now);
//   for (const Event& event : scheduler.events()) ...
//
// Every step has a budget of rows (tokens). Running continuations come first, one row each, so no
// generation ever waits for a prompt. What is left is shared among all prompts that are being
// computed: half goes to the most urgent, the other half to the others equally, at least a block
// each, in order, and what they leave to whoever can use it. So a short prompt behind a long one
// starts within a few steps, and the long one takes at most twice the time that it would take
// alone.
//
// Waiting samples start in order of priority, and of arrival within it; one that has waited for
// `ageing`, all its waits together, goes before all others from then on, and makes room for none of
// them. Memory for the known tokens of a sample is taken at once when it starts, so nobody waits
// holding part of what it needs. Continuations that find no block take it from the running sample
// of least rank, the least urgent and newest: that one waits again, keeps its tokens, and computes
// them anew when it comes back. The first of all can therefore always go on, and since no request
// is accepted that would not fit into the whole memory alone, something always can.
//
// What is to be scored is a prompt each of whose rows yields a token. There are max_batch rows of
// logits in a step: one for each that runs, and scoring gets the others. What is scored begins
// with nothing from the prefix cache, but for what was scored before its memory was lost.
//
// A sample whose consumer lags behind is paused: it keeps its memory while nobody wants it, and is
// the first to lose it.
#ifndef CODEGEN_RUNTIME_SCHEDULER_H_
#define CODEGEN_RUNTIME_SCHEDULER_H_

#include <absl/status/status.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "backend/sampling.h"
#include "codegen/options.h"
#include "codegen/request.h"
#include "kv/paged_memory.h"
#include "runtime/batch_policy.h"
#include "runtime/sequence.h"
#include "runtime/step_plan.h"

namespace codegen::runtime {

struct SchedulerOptions {
  int max_batch = 64;
  int step_tokens = 512;
  KvPolicy kv_policy = KvPolicy::kPreempt;
  BatchPolicy policy = {};
  Time::duration ageing = std::chrono::seconds(2);
  kv::PagedMemoryOptions memory = {};
};

// Only ever grow.
struct SchedulerCounters {
  std::int64_t preemptions = 0;
  std::int64_t looked_up_tokens = 0;  // of prompts, in the prefix cache
  std::int64_t found_tokens = 0;
  std::int64_t prompt_tokens = 0;  // of the prompts whose first token is drawn
  std::int64_t drawn_tokens = 0;
};

// Plan and Apply alternate; everything else may be called between and after them. Not safe for
// concurrent use.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Whether a job of so many tokens in all can ever run.
  bool EverFits(int tokens) const { return memory_.BlocksFor(tokens) <= memory_.size(); }

  // Requires: EverFits(prompt + new_tokens); ids ascend.
  void Add(Job job);

  // Ends every sample of a request with `reason` and `status`. Unknown requests are ignored: they
  // have ended.
  void End(RequestId request, FinishReason reason, const absl::Status& status);
  void EndAll(FinishReason reason, const absl::Status& status);
  // Ends one sample without an event: its consumer has what it wanted.
  void Drop(SampleId id);
  void Pause(SampleId id);
  void Resume(SampleId id);

  // Ends what is late and says what to compute now; nothing if nothing can run. The plan is valid
  // until the next call of Plan.
  const StepPlan& Plan(Time now);

  // The step of the last plan was computed; `drawn` has a token for each of its sampling().
  void Apply(std::span<const backend::SampledToken> drawn, Time now);

  // What happened since ClearEvents.
  const std::vector<Event>& events() const { return events_; }
  void ClearEvents() { events_.clear(); }

  // When Plan may have something new to say though nothing was added; Time::max() if never.
  Time WakeUp() const;

  bool empty() const { return requests_.empty(); }
  int running() const { return static_cast<int>(running_.size()); }
  int waiting() const { return waiting_count_ + held_or_parked_; }  // samples
  const SchedulerCounters& counters() const { return counters_; }
  const kv::PagedMemory& memory() const { return memory_; }
  // For tests: calls see(sequence) for each that has not ended.
  template <class See>
  void ForEach(const See& see) const {
    for (const auto& [id, samples] : requests_) {
      for (const auto& sequence : samples) {
        if (sequence) see(*sequence);
      }
    }
  }

 private:
  struct ByArrival {
    bool operator()(const Sequence* a, const Sequence* b) const { return a->id < b->id; }
  };
  using Line = std::set<Sequence*, ByArrival>;

  Sequence* Find(SampleId id) const;
  void EndSequence(Sequence& sequence, FinishReason reason, const absl::Status& status);
  void Erase(Sequence& sequence);
  void Expire();

  void Wait(Sequence& sequence, Time since);
  void StopWaiting(Sequence& sequence);
  Time AgesAt(const Sequence& sequence) const;
  void Age();
  Sequence* NextWaiting() const;
  Queue queue() const;

  void Start();
  void EndIdleBatch();
  bool TryStart(Sequence& sequence);
  void FindPrefix(Sequence& sequence);
  bool MakeRoomFor(const Sequence& sequence);
  Sequence* LeastRunning() const;
  void Preempt(Sequence& sequence);
  void StopRunning(Sequence& sequence);

  void PlanContinuations();
  bool GrowForNext(Sequence& sequence);
  void PlanPrompts();

  void Draw(Sequence& sequence, const backend::SampledToken& drawn);
  void Tell(Sequence& sequence, std::span<const backend::SampledToken> scored);
  void ReleaseHeld(const Sequence& first);
  void Emit(const Sequence& sequence, Event event);
  Time DeadlineOf(const Sequence& sequence) const;

  SchedulerOptions options_;
  kv::PagedMemory memory_;
  // Not one of Abseil's maps: those are lost when growing finds no memory.
  std::unordered_map<RequestId, std::vector<std::unique_ptr<Sequence>>> requests_;
  Time now_ = {};                               // of the last Plan or Apply
  std::map<int, Line> waiting_;                 // by urgency; no empty line
  std::set<std::pair<Time, SampleId>> ageing_;  // when each that waits will have aged
  int waiting_count_ = 0;
  int held_or_parked_ = 0;
  std::vector<Sequence*> running_;                 // by rank, the first to be served first
  std::set<std::pair<Time, SampleId>> deadlines_;  // the next of each sequence that has one

  StepPlan plan_;
  kv::StepId step_ = 0;          // of plan_
  std::vector<Sequence*> turn_;  // scratch of a Plan
  std::vector<int> shares_;
  std::vector<Event> events_;
  SchedulerCounters counters_;
};

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_SCHEDULER_H_
