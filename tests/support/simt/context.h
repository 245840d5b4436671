// SPDX-License-Identifier: Apache-2.0
//
// Changing stacks: the one part of the emulator that depends on the machine.
//
// context_x86_64.cc does it in twenty instructions (about 20 ns); context_ucontext.cc does it with
// the functions that POSIX once had for it, which make two system calls a time (about 400 ns). The
// build takes the first where it can. Both keep the registers of a suspended stack on that stack,
// so a context is a pointer into it.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_CONTEXT_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_CONTEXT_H_

#include <cstddef>
#include <span>

namespace codegen::simt {

using Context = void*;

// A context that calls entry() on `stack` when it is first switched to. Requires: entry never
// returns; the stack is aligned to 16 bytes at both ends.
Context PrepareContext(std::span<std::byte> stack, void (*entry)());

// Saves the running context in `from` and goes on with `to`; returns when somebody switches back.
void SwitchContext(Context& from, Context to);

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_CONTEXT_H_
