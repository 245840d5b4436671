// SPDX-License-Identifier: Apache-2.0
//
// The macros of the house: two for passing a Status on, one for what only a mistake of our own can
// break.
#ifndef CODEGEN_BASE_CHECK_H_
#define CODEGEN_BASE_CHECK_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cassert>
#include <utility>

// Returns from the enclosing function with the status of `expression` unless it is OK.
#define CODEGEN_RETURN_IF_ERROR(expression)                                                      \
  do {                                                                                           \
    if (absl::Status codegen_status = (expression); !codegen_status.ok()) return codegen_status; \
  } while (false)

#define CODEGEN_CONCAT_INNER(a, b) a##b
#define CODEGEN_CONCAT(a, b) CODEGEN_CONCAT_INNER(a, b)

// Declares or assigns `target` from a StatusOr, or returns its status.
#define CODEGEN_ASSIGN_OR_RETURN(target, expression) \
  CODEGEN_ASSIGN_OR_RETURN_INNER(CODEGEN_CONCAT(codegen_result_, __LINE__), target, expression)
#define CODEGEN_ASSIGN_OR_RETURN_INNER(result, target, expression) \
  auto result = (expression);                                      \
  if (!result.ok()) return std::move(result).status();             \
  target = *std::move(result)

// A precondition between parts of the library; compiled out of release builds, never for what a
// user can cause.
#define CODEGEN_DCHECK(condition) assert(condition)

#endif  // CODEGEN_BASE_CHECK_H_
