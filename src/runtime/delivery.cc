// SPDX-License-Identifier: Apache-2.0
#include "runtime/delivery.h"

#include <exception>
#include <thread>
#include <utility>

#include "base/no_memory.h"

namespace codegen::runtime {
namespace {

// Beyond these, calls into the host do wait for each other.
constexpr int kMostThreads = 256;
// Threads that stay when there is nothing to do, so that short calls need no new ones.
constexpr int kIdleThreads = 8;

// The delivery that the current thread belongs to.
thread_local const Delivery* own_delivery = nullptr;

}  // namespace

absl::StatusOr<std::shared_ptr<Delivery>> Delivery::Create() {
  std::shared_ptr<Delivery> delivery(new Delivery);
  const base::MutexLock lock(delivery->mutex_);
  if (!delivery->StartThread()) return base::NoMemory("the system refuses a thread for callbacks");
  return delivery;
}

// One after the other: a queue that lets go of itself would recurse.
Delivery::~Delivery() {
  const base::MutexLock lock(mutex_);
  while (first_) TakeFirst();
}

// A thread shares the delivery, so that one whose callback never returns can be left behind.
bool Delivery::StartThread() {
  try {
    std::thread([self = shared_from_this()] { self->Run(); }).detach();
  } catch (const std::exception&) {  // std::system_error or std::bad_alloc
    return false;
  }
  ++threads_;
  return true;
}

void Delivery::Schedule(std::shared_ptr<Recipient> recipient) {
  const base::MutexLock lock(mutex_);
  Recipient* const last = recipient.get();
  (first_ ? last_->next_ : first_) = std::move(recipient);
  last_ = last;
  changed_.NotifyOne();
}

void Delivery::Run() {
  own_delivery = this;
  while (const std::shared_ptr<Recipient> recipient = Next()) recipient->Receive(*this);
  own_delivery = nullptr;
}

// Blocks until something is scheduled. Null: the thread is not needed any more.
std::shared_ptr<Recipient> Delivery::Next() {
  const base::MutexLock lock(mutex_);
  while (!first_) {
    if (stop_ || threads_ - away_ > kIdleThreads) {
      --threads_;
      stopped_.NotifyAll();
      return nullptr;
    }
    changed_.Wait(mutex_);
  }
  return TakeFirst();
}

std::shared_ptr<Recipient> Delivery::TakeFirst() {
  std::shared_ptr<Recipient> first = std::move(first_);
  first_ = std::move(first->next_);
  return first;
}

Delivery::Away::Away(Delivery& delivery) : delivery_(delivery) {
  const base::MutexLock lock(delivery_.mutex_);
  ++delivery_.away_;
  if (delivery_.away_ == delivery_.threads_ && delivery_.threads_ < kMostThreads)
    delivery_.StartThread();
}

Delivery::Away::~Away() {
  const base::MutexLock lock(delivery_.mutex_);
  --delivery_.away_;
}

void Delivery::Stop(Time deadline) {
  const int own = IsOwnThread() ? 1 : 0;
  const base::MutexLock lock(mutex_);
  stop_ = true;
  changed_.NotifyAll();
  while (threads_ > own && std::chrono::steady_clock::now() < deadline)
    stopped_.Wait(mutex_, deadline);
}

bool Delivery::IsOwnThread() const { return own_delivery == this; }

}  // namespace codegen::runtime
