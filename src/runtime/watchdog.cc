// SPDX-License-Identifier: Apache-2.0
#include "runtime/watchdog.h"

#include <exception>
#include <utility>

#include "base/no_memory.h"

namespace codegen::runtime {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

absl::StatusOr<std::unique_ptr<Watchdog>> Watchdog::Create(Time::duration timeout,
                                                           std::function<void()> bark) {
  std::unique_ptr<Watchdog> watchdog(new Watchdog(timeout, std::move(bark)));
  try {
    watchdog->thread_ = std::thread([watchdog = watchdog.get()] { watchdog->Run(); });
  } catch (const std::exception&) {  // std::system_error or std::bad_alloc
    return base::NoMemory("the system refuses a thread for the watchdog");
  }
  return watchdog;
}

Watchdog::~Watchdog() {
  {
    const base::MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Begin() {
  const base::MutexLock lock(mutex_);
  deadline_ = Clock::now() + timeout_;
  if (deadline_ < wakes_) changed_.NotifyAll();
}

void Watchdog::End() {
  const base::MutexLock lock(mutex_);
  deadline_ = Time::max();
}

// The thread looks again when the step that it saw last should have ended. By then many others have
// begun and ended; so it is woken once per timeout, however many steps there are.
void Watchdog::Run() {
  {
    const base::MutexLock lock(mutex_);
    while (Clock::now() < deadline_) {
      if (stop_) return;
      wakes_ = deadline_;
      changed_.Wait(mutex_, wakes_);
    }
  }
  bark_();
}

}  // namespace codegen::runtime
