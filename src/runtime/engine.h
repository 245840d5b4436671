// SPDX-License-Identifier: Apache-2.0
//
// The thread that computes: takes what others ask for, plans a step, has it computed, and passes on
// what it yields, for as long as there is something to do.
//
// Others never touch the scheduler. They post commands, which run on this thread between two steps;
// the lock is held for handing them over, never while something is computed.
#ifndef CODEGEN_RUNTIME_ENGINE_H_
#define CODEGEN_RUNTIME_ENGINE_H_

#include <absl/base/thread_annotations.h>
#include <absl/status/status.h>

#include <functional>
#include <memory>
#include <vector>

#include "backend/sampling.h"
#include "base/mutex.h"
#include "model/executor.h"
#include "runtime/scheduler.h"

namespace codegen::runtime {

// What a step was, for metrics and traces.
struct StepReport {
  Time begin = {};
  Time end = {};
  int rows = 0;
  int prompt_rows = 0;  // of them, those of prompts
  int samples = 0;
};

// Who is told what happens. Called on the engine's thread; must be quick, and must not throw.
class EngineListener {
 public:
  virtual ~EngineListener() = default;
  // `scheduler` may be told of more at once.
  virtual void OnEvents(std::span<const Event> events, Scheduler& scheduler) = 0;
  virtual void OnStepBegin() = 0;
  virtual void OnStepEnd(const StepReport& report, const Scheduler& scheduler) = 0;
  // Nothing can run until something is posted or the time comes.
  virtual void OnIdle(const Scheduler& scheduler) = 0;
  // The device has failed, or memory has run out, and the engine ends. What lives hears no more of
  // it: the scheduler may be halfway through something.
  virtual void OnFailure(const absl::Status& status) = 0;
};

class Engine {
 public:
  using Command = std::function<void(Scheduler& scheduler)>;

  // `listener` must outlive the call of Run.
  Engine(const SchedulerOptions& options, std::unique_ptr<model::Executor> executor,
         EngineListener& listener);

  // From any thread. Commands run in the order of their posting. False: the engine has ended, and
  // the command will not run.
  bool Post(Command command);

  // Ends all requests with `reason` and `status` before the next step, and then Run. From any
  // thread, any number of times.
  void Stop(FinishReason reason, const absl::Status& status);

  // The loop. Returns after Stop, or when the device has failed.
  void Run();

  // Whether a request of so many tokens in all can ever run. From any thread.
  bool EverFits(int tokens) const { return scheduler_.EverFits(tokens); }

 private:
  absl::Status Loop();
  bool TakeCommands();
  absl::Status Step(const StepPlan& plan);
  void PassOnEvents();

  // Used by Run alone.
  Scheduler scheduler_;
  const std::unique_ptr<model::Executor> executor_;
  EngineListener& listener_;
  std::vector<backend::SampledToken> drawn_;
  std::vector<Command> taken_;
  Time wake_up_ = Time::max();
  bool idle_ = true;

  base::Mutex mutex_;
  base::Condition changed_;  // something was posted
  std::vector<Command> posted_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  FinishReason stop_reason_ = FinishReason::kCancelled;  // constant once stop_
  absl::Status stop_status_;                             // the same
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_ENGINE_H_
