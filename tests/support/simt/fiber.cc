// SPDX-License-Identifier: Apache-2.0
#include "support/simt/fiber.h"

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <span>

namespace codegen::simt {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;  // pages that are never touched cost nothing
constexpr std::size_t kGuardPage = 64 << 10;    // the largest page of any machine we know

thread_local Fiber* switched_to = nullptr;

std::byte* MapStack() {
  void* stack = mmap(nullptr, kGuardPage + kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack == MAP_FAILED) throw std::bad_alloc();
  mprotect(stack, kGuardPage, PROT_NONE);
  return static_cast<std::byte*>(stack) + kGuardPage;
}

}  // namespace

Fiber::Fiber() : record_(RecordOwnStack()) {}

Fiber::Fiber(void (*entry)())
    : entry_(entry), stack_(MapStack()), record_(RecordNewStack(stack_, kStackBytes)) {
  context_ = PrepareContext(std::span(stack_, kStackBytes), &Fiber::Begin);
}

Fiber::~Fiber() {
  if (stack_ == nullptr) return;
  ForgetNewStack(record_);
  munmap(stack_ - kGuardPage, kGuardPage + kStackBytes);
}

// Neither this nor Begin nor SwitchContext is any fiber's doing; the thread sanitizer looks at
// none.
__attribute__((noinline, no_sanitize("thread"))) void Fiber::Switch(Fiber& from, Fiber& to) {
  switched_to = &to;
  LeaveStack(from.record_, to.record_);
  SwitchContext(from.context_, to.context_);
  ArriveOnStack(from.record_);
}

__attribute__((no_sanitize("thread"))) void Fiber::Begin() {
  const Fiber& self = *switched_to;
  ArriveOnStack(self.record_);
  self.entry_();
  std::abort();
}

}  // namespace codegen::simt
