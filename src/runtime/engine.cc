// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine.h"

#include <utility>

#include "base/check.h"
#include "base/guarded.h"
#include "base/unshared.h"

namespace codegen::runtime {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

Engine::Engine(const SchedulerOptions& options, std::unique_ptr<model::Executor> executor,
               EngineListener& listener)
    : scheduler_(options),
      executor_(std::move(executor)),
      listener_(listener),
      drawn_(static_cast<std::size_t>(options.max_batch)) {}

bool Engine::Post(Command command) {
  const base::MutexLock lock(mutex_);
  if (ended_) return false;
  posted_.push_back(std::move(command));
  changed_.NotifyOne();
  return true;
}

void Engine::Stop(FinishReason reason, const absl::Status& status) {
  const base::MutexLock lock(mutex_);
  if (stop_ || ended_) return;
  stop_ = true;
  stop_reason_ = reason;
  stop_status_ = base::Unshared(status);
  changed_.NotifyOne();
}

void Engine::Run() {
  const absl::Status status = base::Guarded([this] { return Loop(); });
  if (status.ok()) return;
  {
    const base::MutexLock lock(mutex_);
    ended_ = true;
    posted_.clear();
  }
  listener_.OnFailure(status);
}

absl::Status Engine::Loop() {
  while (TakeCommands()) {
    PassOnEvents();
    const StepPlan& plan = scheduler_.Plan(Clock::now());
    PassOnEvents();
    idle_ = plan.empty();
    if (idle_) {
      wake_up_ = scheduler_.WakeUp();
      listener_.OnIdle(scheduler_);
      continue;
    }
    CODEGEN_RETURN_IF_ERROR(Step(plan));
    PassOnEvents();
  }
  return absl::OkStatus();
}

// Runs what was posted; while idle, waits for it, or for the time to wake up. False: all is over.
bool Engine::TakeCommands() {
  bool stop = false;
  {
    const base::MutexLock lock(mutex_);
    while (idle_ && posted_.empty() && !stop_ && Clock::now() < wake_up_)
      changed_.Wait(mutex_, wake_up_);
    taken_.swap(posted_);
    stop = stop_;
    ended_ = stop;
  }
  for (const Command& command : taken_) command(scheduler_);
  taken_.clear();
  if (!stop) return true;
  scheduler_.EndAll(stop_reason_, stop_status_);
  PassOnEvents();
  return false;
}

absl::Status Engine::Step(const StepPlan& plan) {
  StepReport report{.begin = Clock::now(),
                    .rows = plan.rows(),
                    .samples = static_cast<int>(plan.entries().size())};
  for (const StepPlan::Entry& entry : plan.entries()) {
    if (entry.rows > 1) report.prompt_rows += entry.rows;
  }
  const auto drawn = std::span(drawn_).first(plan.sampling().size());
  listener_.OnStepBegin();
  const absl::Status status = base::Guarded(
      [&] { return executor_->Step(plan.view(), {.sampling = plan.sampling(), .tokens = drawn}); });
  report.end = Clock::now();
  if (status.ok()) scheduler_.Apply(drawn, report.end);
  listener_.OnStepEnd(report, scheduler_);
  return status;
}

void Engine::PassOnEvents() {
  if (scheduler_.events().empty()) return;
  listener_.OnEvents(scheduler_.events(), scheduler_);
  scheduler_.ClearEvents();
}

}  // namespace codegen::runtime
