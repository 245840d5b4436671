// SPDX-License-Identifier: Apache-2.0
//
// Threads that carry results to their consumers, beside the thread that computes.
//
// Work for one recipient runs in order, on one thread at a time; work for different recipients
// never waits for each other, though it may call into the host and stay there for minutes: before a
// thread leaves for the host (Enter), it makes sure that another one is there to take over. So
// there are as many threads as there are calls into the host at one time, plus one.
#ifndef CODEGEN_RUNTIME_DELIVERY_H_
#define CODEGEN_RUNTIME_DELIVERY_H_

#include <absl/base/thread_annotations.h>
#include <absl/status/statusor.h>

#include <memory>

#include "base/mutex.h"
#include "codegen/request.h"

namespace codegen::runtime {

class Delivery;

// Who gets results. Schedule it, and Receive is called soon after on some thread.
class Recipient {
 public:
  virtual ~Recipient() = default;
  virtual void Receive(Delivery& delivery) noexcept = 0;

 private:
  friend class Delivery;
  std::shared_ptr<Recipient> next_;  // in the delivery's queue: it needs no memory of its own
};

// All methods may be called from any thread.
class Delivery : public std::enable_shared_from_this<Delivery> {
 public:
  // Errors: RESOURCE_EXHAUSTED if the first thread cannot be had; further ones are done without.
  static absl::StatusOr<std::shared_ptr<Delivery>> Create();
  ~Delivery();

  // Requires: `recipient` is not scheduled already, or running. Needs no memory.
  void Schedule(std::shared_ptr<Recipient> recipient);

  // Around every call into the host, on a thread of the delivery.
  class Away {
   public:
    explicit Away(Delivery& delivery);
    ~Away();
    Away(const Away&) = delete;
    Away& operator=(const Away&) = delete;

   private:
    Delivery& delivery_;
  };

  // Lets the threads end when nothing is scheduled any more, and waits for that, but not beyond
  // `deadline`, and not for the calling thread: what is left over ends by itself.
  void Stop(Time deadline);

  // Whether the calling thread is one of this delivery's.
  bool IsOwnThread() const;

 private:
  Delivery() = default;

  bool StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run();
  std::shared_ptr<Recipient> Next();
  std::shared_ptr<Recipient> TakeFirst() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  base::Mutex mutex_;
  base::Condition changed_;  // something is scheduled, or it is time to stop
  base::Condition stopped_;  // a thread has ended
  std::shared_ptr<Recipient> first_ ABSL_GUARDED_BY(mutex_);  // of the queue; null: empty
  Recipient* last_ ABSL_GUARDED_BY(mutex_) = nullptr;
  int threads_ ABSL_GUARDED_BY(mutex_) = 0;
  int away_ ABSL_GUARDED_BY(mutex_) = 0;  // of them, those in the host
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_DELIVERY_H_
