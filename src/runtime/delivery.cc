// SPDX-License-Identifier: Apache-2.0
#include "runtime/delivery.h"

#include <system_error>
#include <thread>
#include <utility>

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
  if (!delivery->StartThread())
    return absl::ResourceExhaustedError("the system refuses a thread for callbacks");
  return delivery;
}

// A thread shares the delivery, so that one whose callback never returns can be left behind.
bool Delivery::StartThread() {
  try {
    std::thread([self = shared_from_this()] { self->Run(); }).detach();
  } catch (const std::system_error&) {
    return false;
  }
  ++threads_;
  return true;
}

void Delivery::Schedule(std::shared_ptr<Recipient> recipient) {
  const base::MutexLock lock(mutex_);
  queue_.push_back(std::move(recipient));
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
  while (queue_.empty()) {
    if (stop_ || threads_ - away_ > kIdleThreads) {
      --threads_;
      stopped_.NotifyAll();
      return nullptr;
    }
    changed_.Wait(mutex_);
  }
  std::shared_ptr<Recipient> next = std::move(queue_.front());
  queue_.pop_front();
  return next;
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
