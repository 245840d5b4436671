// SPDX-License-Identifier: Apache-2.0
//
// A fiber: a stack and the point at which it stopped. One host thread runs many, one at a time, and
// a switch is a function call, so the emulator decides who runs next and can choose differently in
// the next test.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_FIBER_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_FIBER_H_

#include <cstddef>

#include "support/simt/context.h"
#include "support/simt/sanitizers.h"

namespace codegen::simt {

// Belongs to the host thread that created it. May be destroyed while it is suspended; what is on
// its stack then is forgotten, not destroyed.
class Fiber {
 public:
  // The stack that the calling thread runs on, to come back to.
  Fiber();

  // A stack of its own, on which the first switch calls entry(). Requires: entry never returns.
  explicit Fiber(void (*entry)());

  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Suspends the running fiber, which is `from`, and goes on with `to`.
  static void Switch(Fiber& from, Fiber& to);

 private:
  static void Begin();

  void (*entry_)() = nullptr;
  std::byte* stack_ = nullptr;  // mapped, with a page below it that must not be touched
  Context context_ = nullptr;   // while suspended
  StackRecord record_;
};

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_FIBER_H_
