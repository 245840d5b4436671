// SPDX-License-Identifier: Apache-2.0
//
// For threads of our own: an exception that leaves one ends the process.
#ifndef CODEGEN_BASE_GUARDED_H_
#define CODEGEN_BASE_GUARDED_H_

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>

#include <exception>
#include <new>

#include "base/no_memory.h"

namespace codegen::base {

// What the work of a step returns, or a status for what it throws: RESOURCE_EXHAUSTED for want of
// memory, else INTERNAL.
inline absl::Status Guarded(absl::FunctionRef<absl::Status()> work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return NoMemory("no memory for a step");
  } catch (const std::exception& error) {
    return StatusOf(absl::StatusCode::kInternal, error.what());
  } catch (...) {
    return StatusOf(absl::StatusCode::kInternal, "something was thrown that is no exception");
  }
}

}  // namespace codegen::base

#endif  // CODEGEN_BASE_GUARDED_H_
