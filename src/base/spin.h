// SPDX-License-Identifier: Apache-2.0
//
// Waiting for another thread that is about to be ready.
#ifndef CODEGEN_BASE_SPIN_H_
#define CODEGEN_BASE_SPIN_H_

#include <atomic>
#include <chrono>
#include <thread>

namespace codegen::base {

// A bounded wait: pauses while the partner is likely to run on another CPU, then yields, in case it
// wants this one. The gaps between the regions of a step are below 20 us; 100 us bound what a step
// that has ended costs.
class Spin {
 public:
  // Waits a little. False once the time for spinning is over.
  bool Once() {
    for (int i = 0; i < 16; ++i) Relax();
    const auto waited = Clock::now() - start_;
    if (waited > kPause) std::this_thread::yield();
    return waited < kSpin;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds kPause{20};
  static constexpr std::chrono::microseconds kSpin{100};

  static void Relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  Clock::time_point start_ = Clock::now();
};

// Returns once `word` is not `value`; what was written before it was changed is visible then.
// Whoever changes it calls word.notify_all().
template <class Value>
void SpinThenPark(const std::atomic<Value>& word, Value value) {
  for (Spin spin; word.load(std::memory_order_acquire) == value;) {
    if (!spin.Once()) word.wait(value, std::memory_order_acquire);
  }
}

}  // namespace codegen::base

#endif  // CODEGEN_BASE_SPIN_H_
