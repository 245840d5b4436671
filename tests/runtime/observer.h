// SPDX-License-Identifier: Apache-2.0
//
// Watches a scheduler from outside and knows what must hold after every call: what each sample must
// yield (a function of its request alone), who holds which block, who may start before whom, and
// that nothing waits that could run.
#ifndef CODEGEN_TESTS_RUNTIME_OBSERVER_H_
#define CODEGEN_TESTS_RUNTIME_OBSERVER_H_

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/scheduler.h"
#include "runtime/simulated_device.h"
#include "runtime/simulated_workload.h"

namespace codegen::runtime {

enum class Happening {
  kAdd,
  kEnd,
  kDrop,
  kPause,
  kResume,
  kExpire,
  kStart,
  kPreempt,
  kToken,
  kFinish,
};

inline constexpr int kPhases = 4;
inline constexpr int kHappenings = 10;

// How often what happened to a sample in which phase.
struct Visits {
  std::array<std::array<std::int64_t, kHappenings>, kPhases> counts = {};
  std::int64_t& at(Phase phase, Happening happening) {
    return counts[static_cast<std::size_t>(phase)][static_cast<std::size_t>(happening)];
  }
};

// A sample as it is known from outside, and as it was at the last look.
struct WatchedSample {
  SampleId id = {};
  const Job* job = nullptr;
  // What it yields if it is left alone, why it ends, and the chain of its prompt and that.
  std::vector<TokenId> expected = {};
  FinishReason reason = FinishReason::kLength;
  std::vector<std::uint64_t> chain = {};

  bool started = false;  // once
  int delivered = 0;
  Time last_token = {};
  bool over = false;       // ended or dropped
  bool cancelled = false;  // a host has ended its request
  const Sequence* sequence = nullptr;

  Phase phase = Phase::kHeld;
  bool paused = false;
  int preemptions = 0;
  Time waits_since = {};       // if phase is kWaiting
  Time::duration waited = {};  // before that
  bool aged = false;
};

class Observer {
 public:
  Observer(const SchedulerOptions& options, const Scheduler& scheduler,
           const SimulatedDevice& device, Verdict& verdict, Visits& visits);

  // What the host says, each before the scheduler hears of it.
  void BeforeAdd(const SimulatedRequest& request);
  void BeforeEnd(RequestId request);
  void Before(Happening happening, SampleId id);

  // After each call of the scheduler but Plan and Apply.
  void AfterCall();
  void AfterPlan(const StepPlan& plan, Time now);
  void AfterApply(Time now);
  // When everything has ended.
  void AfterAll();

  const std::vector<WatchedSample>& samples(RequestId request) const {
    return requests_[static_cast<std::size_t>(request) - 1];
  }
  RequestId added() const { return requests_.size(); }
  int live() const { return live_; }

 private:
  using Rank = std::pair<int, SampleId>;

  WatchedSample& at(SampleId id) {
    return requests_[static_cast<std::size_t>(id.request) - 1][static_cast<std::size_t>(id.sample)];
  }
  template <class See>
  void ForEachLive(const See& see);
  Rank RankOf(const WatchedSample& sample) const;

  void Read(bool planned, Time now);
  void ReadToken(WatchedSample& sample, const Event& event, Time now);
  void ReadScored(WatchedSample& sample, const Event& event);
  void ReadEnd(WatchedSample& sample, const Event& event, bool planned, Time now);
  bool IsLate(const WatchedSample& sample, Time now) const;
  bool IsFaulty(RequestId request) const;
  void Look();
  void Remember(WatchedSample& sample);
  void CheckCounts();
  void CheckWakeUp();
  int BlocksFor(int tokens) const { return (tokens - 1) / options_.memory.cache.block_tokens + 1; }

  // observer_plan.cc
  void CompareWithBefore();
  void CheckOrder();
  void CheckStarts(Time now);
  int MayHaveStarted(int waiting, Time now) const;
  void CheckPreemptive();
  void CheckPreempted();
  void CheckEntries(const StepPlan& plan);
  void CheckShares(const StepPlan& plan);

  // observer_memory.cc
  void CheckMemory(const StepPlan* running);
  void CountTables();
  void CheckTable(const Sequence& sequence);
  void CheckShared(const Sequence& sequence, std::size_t index);
  void CheckChain(const StepPlan& plan);
  void CheckBlocks(const StepPlan* running);
  void CheckQuota();

  const SchedulerOptions& options_;
  const Scheduler& scheduler_;
  const SimulatedDevice& device_;
  Verdict& verdict_;
  Visits& visits_;

  std::vector<std::vector<WatchedSample>> requests_;
  RequestId first_live_ = 1;
  int live_ = 0;
  int preemptions_ = 0;
  Time told_ = {};  // the last time that the scheduler was told
  const StepPlan* running_step_ = nullptr;

  // Of the Plan that is looked at.
  std::vector<const WatchedSample*> ran_, started_, preempted_, waiting_, running_;
  bool comes_back_ = false;  // somebody was preempted and started again

  struct Holder {
    const Sequence* sequence = nullptr;
    std::size_t index = 0;
    int tables = 0;
  };
  std::vector<Holder> holders_;  // of each block
  std::vector<bool> touched_;    // by the step that runs
  struct Owner {
    std::int64_t generation = -1;
    const std::string* salt = nullptr;
  };
  std::vector<Owner> owners_;  // of each block, the first that held it in this generation
};

template <class See>
void Observer::ForEachLive(const See& see) {
  for (RequestId request = first_live_; request <= requests_.size(); ++request) {
    for (WatchedSample& sample : requests_[request - 1]) {
      if (!sample.over) see(sample);
    }
  }
}

}  // namespace codegen::runtime

#endif  // CODEGEN_TESTS_RUNTIME_OBSERVER_H_
