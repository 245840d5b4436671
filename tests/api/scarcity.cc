// SPDX-License-Identifier: Apache-2.0
#include "api/scarcity.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "support/sanitizers.h"

namespace codegen::testing {
namespace {

// Counts down to the call that is refused.
class Countdown {
 public:
  void Arm(int k, Lasting lasting) {
    refused_ = 0;
    lasting_ = lasting;
    left_ = k;
  }
  void Disarm() { left_ = INT_MAX; }
  bool Refuses() {
    if (left_.load(std::memory_order_relaxed) == INT_MAX) return false;
    const int left = --left_;
    const bool refuses = left == 0 || (left < 0 && lasting_ == Lasting::kFromThenOn);
    if (refuses) ++refused_;
    return refuses;
  }
  bool reached() const { return refused_ > 0; }

 private:
  std::atomic<int> left_ = INT_MAX;
  std::atomic<int> refused_ = 0;
  std::atomic<Lasting> lasting_ = Lasting::kOnce;
};

constinit Countdown allocations;
constinit Countdown threads;
constinit std::atomic<Whose> starved = Whose::kAllThreads;
thread_local bool is_arming_thread = false;

bool IsStarved() {
  if (starved.load(std::memory_order_relaxed) == Whose::kAllThreads) return true;
  return is_arming_thread == (starved.load(std::memory_order_relaxed) == Whose::kThisThread);
}

void* Allocate(std::size_t bytes, std::size_t alignment) {
  if (IsStarved() && allocations.Refuses()) return nullptr;
  bytes = (bytes + alignment - 1) / alignment * alignment;
  return std::aligned_alloc(alignment, bytes == 0 ? alignment : bytes);
}

void* AllocateOrThrow(std::size_t bytes, std::size_t alignment) {
  void* const memory = Allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

NoMemoryAt::NoMemoryAt(int k, Whose whose, Lasting lasting) {
  is_arming_thread = true;
  starved = whose;
  allocations.Arm(k, lasting);
}

NoMemoryAt::~NoMemoryAt() {
  allocations.Disarm();
  is_arming_thread = false;
}

bool NoMemoryAt::reached() const { return allocations.reached(); }

NoThreadAt::NoThreadAt(int k) { threads.Arm(k, Lasting::kOnce); }

NoThreadAt::~NoThreadAt() { threads.Disarm(); }

bool NoThreadAt::reached() const { return threads.reached(); }

#if defined(CODEGEN_ASAN) || defined(CODEGEN_TSAN)
bool CountsThreads() { return false; }
#else
bool CountsThreads() { return true; }

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*start)(void*), void* argument) noexcept {
  if (threads.Refuses()) return EAGAIN;
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  return create(thread, attributes, start, argument);
}
#endif

}  // namespace codegen::testing

using codegen::testing::Allocate;
using codegen::testing::AllocateOrThrow;

constexpr std::size_t kUsual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

void* operator new(std::size_t bytes) { return AllocateOrThrow(bytes, kUsual); }
void* operator new[](std::size_t bytes) { return AllocateOrThrow(bytes, kUsual); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return AllocateOrThrow(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return AllocateOrThrow(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, kUsual);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, kUsual);
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return Allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment,
                     const std::nothrow_t&) noexcept {
  return Allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
