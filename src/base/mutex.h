// SPDX-License-Identifier: Apache-2.0
//
// std::mutex and std::condition_variable with the annotations that let clang check who holds what.
// Not Abseil's, whose timed waits follow the time of day before its release 20240116: whoever sets
// that back would stop every deadline.
#ifndef CODEGEN_BASE_MUTEX_H_
#define CODEGEN_BASE_MUTEX_H_

#include <absl/base/thread_annotations.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace codegen::base {

class ABSL_LOCKABLE Mutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  friend class Condition;
  std::mutex mutex_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Something that threads wait for. Whoever makes it true notifies.
class Condition {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void NotifyOne() { changed_.notify_one(); }
  void NotifyAll() { changed_.notify_all(); }

  // Waits for a notification, or until `deadline`, or for nothing at all: call it in a loop.
  // Time::max() is never.
  void Wait(Mutex& mutex, Time deadline = Time::max()) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    if (deadline == Time::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, deadline);
    }
    lock.release();
  }

 private:
  std::condition_variable changed_;
};

}  // namespace codegen::base

#endif  // CODEGEN_BASE_MUTEX_H_
