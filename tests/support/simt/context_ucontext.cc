// SPDX-License-Identifier: Apache-2.0
//
// For machines whose registers we do not know by heart.
#include "support/simt/context.h"

#include <ucontext.h>

#include <cstddef>
#include <new>
#include <span>

namespace codegen::simt {

// The description of a context that has not run yet lies on top of its stack.
Context PrepareContext(std::span<std::byte> stack, void (*entry)()) {
  constexpr std::size_t kReserved = (sizeof(ucontext_t) + 63) / 64 * 64;
  auto* context = new (stack.data() + stack.size() - kReserved) ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = stack.data();
  context->uc_stack.ss_size = stack.size() - kReserved;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}

__attribute__((no_sanitize("thread"))) void SwitchContext(Context& from, Context to) {
  ucontext_t here;
  from = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to));
}

}  // namespace codegen::simt
