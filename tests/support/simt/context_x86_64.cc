// SPDX-License-Identifier: Apache-2.0
//
// Saved are the registers that a called function has to preserve (System V ABI), the return address
// being on the stack already. The rounding modes, which it has to preserve too, are nobody's to
// change here.
#include <cstddef>
#include <span>

#include "support/simt/context.h"

extern "C" void CodegenSimtSwitch(codegen::simt::Context* from, codegen::simt::Context to);

asm(R"(
.text
.p2align 4
.globl CodegenSimtSwitch
.hidden CodegenSimtSwitch
.type CodegenSimtSwitch, @function
CodegenSimtSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size CodegenSimtSwitch, . - CodegenSimtSwitch
)");

namespace codegen::simt {
namespace {

constexpr std::size_t kSavedRegisters = 6;

}  // namespace

// On top a null for whoever walks the stack, as the return address of entry: with it the stack is
// aligned as if entry had been called.
Context PrepareContext(std::span<std::byte> stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack.data() + stack.size());
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (std::size_t i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  return top;
}

__attribute__((no_sanitize("thread"))) void SwitchContext(Context& from, Context to) {
  CodegenSimtSwitch(&from, to);
}

}  // namespace codegen::simt
