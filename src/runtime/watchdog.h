// SPDX-License-Identifier: Apache-2.0
//
// Notices that something which should end does not: a device that hangs without an error.
#ifndef CODEGEN_RUNTIME_WATCHDOG_H_
#define CODEGEN_RUNTIME_WATCHDOG_H_

#include <absl/base/thread_annotations.h>
#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "codegen/request.h"

namespace codegen::runtime {

// Begin and End may be called from any thread, in turns, and take a fraction of a microsecond: the
// thread of the watchdog sleeps through all steps that end in time.
class Watchdog {
 public:
  // Calls `bark` once, on a thread of its own, if End does not follow a Begin within `timeout`.
  // Errors: RESOURCE_EXHAUSTED (a thread).
  static absl::StatusOr<std::unique_ptr<Watchdog>> Create(Time::duration timeout,
                                                          std::function<void()> bark);
  // Waits for `bark` to return, if it runs. Must not be called from within it.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void Begin();
  void End();

 private:
  Watchdog(Time::duration timeout, std::function<void()> bark)
      : timeout_(timeout), bark_(std::move(bark)) {}
  void Run();

  // Constant after construction.
  const Time::duration timeout_;
  const std::function<void()> bark_;
  std::thread thread_;

  base::Mutex mutex_;
  base::Condition changed_;  // deadline_ comes before wakes_, or it is time to stop
  Time deadline_ ABSL_GUARDED_BY(mutex_) = Time::max();  // of what has begun
  Time wakes_ ABSL_GUARDED_BY(mutex_) = Time::max();     // when the thread will look
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_WATCHDOG_H_
