// SPDX-License-Identifier: Apache-2.0
//
// What to say when memory runs out, without needing any.
#ifndef CODEGEN_BASE_NO_MEMORY_H_
#define CODEGEN_BASE_NO_MEMORY_H_

#include <absl/status/status.h>
#include <absl/strings/string_view.h>

#include <new>

namespace codegen::base {

// Returns {code, message}; without the message if there is no memory for it.
inline absl::Status StatusOf(absl::StatusCode code, absl::string_view message) noexcept {
  try {
    return {code, message};
  } catch (const std::bad_alloc&) {
    return {code, {}};  // Abseil allocates for messages alone
  }
}

inline absl::Status NoMemory(absl::string_view message) noexcept {
  return StatusOf(absl::StatusCode::kResourceExhausted, message);
}

// What work() returns; NoMemory(message) if memory runs out in it. Around what hosts call: no
// exception leaves the library.
template <class Work>
auto OrNoMemory(absl::string_view message, const Work& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return NoMemory(message);
  }
}

}  // namespace codegen::base

#endif  // CODEGEN_BASE_NO_MEMORY_H_
