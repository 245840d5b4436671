// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulation.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <span>
#include <utility>

#include "codegen/request.h"

namespace codegen::runtime {
namespace {

constexpr int kMostSteps = 50'000;  // the longest of a million seeds takes a tenth

class Simulation {
 public:
  Simulation(std::uint64_t seed, Visits& visits, Trace trace)
      : random_(seed),
        workload_(MakeWorkload(random_)),
        scheduler_(workload_.options),
        device_(scheduler_.memory().pool(), workload_.options.memory.cache.block_tokens, verdict_),
        observer_(workload_.options, scheduler_, device_, verdict_, visits),
        trace_(trace) {}

  SimulationResult Run();

 private:
  bool GoesOn() const;
  void Step();
  void PassTime(Time::duration duration);
  void Sleep();
  void AddArrivals();
  void Add(const SimulatedRequest& request);
  void Consume();
  void Meddle();
  void MeddleWith(const WatchedSample& sample);
  void Pause(SampleId id, int backlog);
  void Resume(SampleId id);
  void End(RequestId request);
  void AfterCall();
  void Collect();
  void Note(const char* what, SampleId id);
  void NotePlan(const StepPlan& plan);

  struct Consumer {
    int backlog = 0;
    bool paused = false;
  };

  Verdict verdict_;
  Random random_;
  Workload workload_;
  Scheduler scheduler_;
  SimulatedDevice device_;
  Observer observer_;
  Trace trace_;

  Time now_{std::chrono::hours(1)};
  std::size_t arrived_ = 0;
  std::map<SampleId, Consumer> consumers_;  // of the samples that are live
  SimulationResult result_;
};

SimulationResult Simulation::Run() {
  while (GoesOn()) {
    AddArrivals();
    Consume();
    Meddle();
    if (result_.steps == workload_.shut_down_after) {
      for (RequestId request = 1; request <= observer_.added(); ++request) End(request);
      arrived_ = workload_.requests.size();
    }
    if (verdict_.ok()) Step();
  }
  if (verdict_.ok()) observer_.AfterAll();
  result_.broken = verdict_.broken();
  return std::move(result_);
}

bool Simulation::GoesOn() const {
  return verdict_.ok() && (arrived_ < workload_.requests.size() || observer_.live() > 0);
}

void Simulation::Step() {
  const StepPlan& plan = scheduler_.Plan(now_);
  if (trace_ == Trace::kYes) NotePlan(plan);
  device_.Poison(plan);
  observer_.AfterPlan(plan, now_);
  Collect();
  if (!verdict_.ok()) return;
  if (plan.empty()) {
    scheduler_.Apply({}, now_);
    observer_.AfterApply(now_);
    return Sleep();
  }

  verdict_.Expect(++result_.steps < kMostSteps, "it does not come to an end");
  const bool slow = random_.OneIn(workload_.slow_steps_one_in);
  const Time::duration duration =
      slow ? std::chrono::seconds(30) : random_.Microseconds(100, 20'000);
  // The device reads what the scheduler may just be changing.
  const bool computes_early = random_.OneIn(2);
  std::vector<backend::SampledToken> drawn;
  if (computes_early) drawn = device_.Compute(plan, random_);
  PassTime(duration);
  if (!computes_early) drawn = device_.Compute(plan, random_);
  if (!verdict_.ok()) return;
  scheduler_.Apply(drawn, now_);
  observer_.AfterApply(now_);
  Collect();
}

// While the device computes, things go on.
void Simulation::PassTime(Time::duration duration) {
  now_ += duration / 2;
  AddArrivals();
  Meddle();
  now_ += duration - duration / 2;
  AddArrivals();
}

// Nothing can run: until when?
void Simulation::Sleep() {
  Time until = scheduler_.WakeUp();
  if (arrived_ < workload_.requests.size())
    until = std::min(until, workload_.requests[arrived_].job.arrival);
  const bool lags =
      std::ranges::any_of(consumers_, [](const auto& consumer) { return consumer.second.paused; });
  if (lags) until = std::min(until, now_ + random_.Microseconds(1, 20'000));
  verdict_.Expect(until != Time::max() || observer_.live() == 0, "it sleeps for ever");
  if (until != Time::max()) now_ = std::max(now_, until);
}

void Simulation::AddArrivals() {
  while (arrived_ < workload_.requests.size() && workload_.requests[arrived_].job.arrival <= now_ &&
         verdict_.ok()) {
    Add(workload_.requests[arrived_++]);
  }
}

void Simulation::Add(const SimulatedRequest& request) {
  const Job& job = request.job;
  verdict_.Expect(scheduler_.EverFits(static_cast<int>(job.prompt.size()) + job.new_tokens),
                  "what fits is refused");
  if (!verdict_.ok()) return;
  Note("add", {job.id, job.samples});
  observer_.BeforeAdd(request);
  for (int i = 0; i < job.samples; ++i) consumers_[{job.id, i}] = {};
  scheduler_.Add(job);
  AfterCall();
}

// Consumers take what they have got; who lags too far behind is paused.
void Simulation::Consume() {
  std::vector<std::pair<SampleId, bool>> changes;
  for (auto& [id, consumer] : consumers_) {
    const SimulatedRequest& request = workload_.requests[static_cast<std::size_t>(id.request) - 1];
    if (!consumer.paused && consumer.backlog > request.backlog_limit)
      changes.emplace_back(id, true);
    consumer.backlog = std::max(0, consumer.backlog - request.consumed_per_step);
    if (consumer.paused && consumer.backlog == 0) changes.emplace_back(id, false);
  }
  for (const auto& [id, pauses] : changes) {
    if (pauses) {
      Pause(id, consumers_[id].backlog);
    } else {
      Resume(id);
    }
  }
}

void Simulation::Meddle() {
  if (!random_.OneIn(workload_.meddles_one_in) || observer_.live() == 0 || !verdict_.ok()) return;
  for (int tries = random_.Between(1, 4); tries > 0; --tries) {
    const auto request = static_cast<RequestId>(random_.Between(1, static_cast<int>(arrived_)));
    const auto& samples = observer_.samples(request);
    const WatchedSample& sample =
        samples[static_cast<std::size_t>(random_.Below(static_cast<int>(samples.size())))];
    if (sample.over) {
      scheduler_.End(request + 1000, FinishReason::kCancelled, {});
      if (!samples.front().over) continue;
      scheduler_.Drop(sample.id);
      scheduler_.Pause(sample.id);
      scheduler_.Resume(sample.id);
      AfterCall();
    } else {
      MeddleWith(sample);
    }
  }
}

void Simulation::MeddleWith(const WatchedSample& sample) {
  const SampleId id = sample.id;
  switch (random_.Below(8)) {
    case 0:
      return End(id.request);
    case 1:
      Note("drop", id);
      observer_.Before(Happening::kDrop, id);
      consumers_.erase(id);
      scheduler_.Drop(id);
      return AfterCall();
    case 2:
    case 3:
      return Resume(id);
    default:
      return Pause(id, random_.Between(1, 12));
  }
}

void Simulation::Pause(SampleId id, int backlog) {
  Note("pause", id);
  observer_.Before(Happening::kPause, id);
  consumers_[id] = {.backlog = backlog, .paused = true};
  scheduler_.Pause(id);
  AfterCall();
}

void Simulation::Resume(SampleId id) {
  Note("resume", id);
  observer_.Before(Happening::kResume, id);
  consumers_[id] = {};
  scheduler_.Resume(id);
  AfterCall();
}

void Simulation::End(RequestId request) {
  Note("end", {request, 0});
  observer_.BeforeEnd(request);
  scheduler_.End(request, FinishReason::kCancelled, absl::CancelledError("by the host"));
  AfterCall();
}

void Simulation::AfterCall() {
  if (!verdict_.ok()) return;
  observer_.AfterCall();
  Collect();
}

// The consumers get their tokens.
void Simulation::Collect() {
  for (const Event& event : scheduler_.events()) {
    if (event.kind == Event::Kind::kToken) {
      ++consumers_[event.id].backlog;
      Note("token", event.id);
    } else if (event.kind == Event::Kind::kEnd) {
      consumers_.erase(event.id);
      Note(FinishReasonName(event.reason), event.id);
    }
  }
  scheduler_.ClearEvents();
}

void Simulation::Note(const char* what, SampleId id) {
  if (trace_ == Trace::kNo) return;
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch() -
                                                                         std::chrono::hours(1));
  result_.trace.push_back(std::to_string(now.count()) + " us: " + what + " " +
                          std::to_string(id.request) + "." + std::to_string(id.sample));
}

void Simulation::NotePlan(const StepPlan& plan) {
  Note("step", {static_cast<RequestId>(result_.steps), 0});
  for (const StepPlan::Entry& entry : plan.entries()) {
    if (entry.sequence == nullptr) continue;
    Note("  runs", entry.sequence->id);
    result_.trace.back() += ", rows " + std::to_string(entry.sequence->computed) + " to " +
                            std::to_string(entry.sequence->computed + entry.rows);
  }
}

}  // namespace

SimulationResult Simulate(std::uint64_t seed, Visits& visits, Trace trace) {
  return Simulation(seed, visits, trace).Run();
}

}  // namespace codegen::runtime
