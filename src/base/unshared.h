// SPDX-License-Identifier: Apache-2.0
//
// A status that another thread may own. Copies of an absl::Status share its message by a reference
// count inside the Abseil library, which the thread sanitizer cannot see unless Abseil was built
// with it: it takes the last owner's deletion for a race.
#ifndef CODEGEN_BASE_UNSHARED_H_
#define CODEGEN_BASE_UNSHARED_H_

#include <absl/status/status.h>

#include "base/no_memory.h"

namespace codegen::base {

// Returns `status` without payloads, sharing nothing with it; without its message if there is no
// memory for it.
inline absl::Status Unshared(const absl::Status& status) noexcept {
  return StatusOf(status.code(), status.message());
}

}  // namespace codegen::base

#endif  // CODEGEN_BASE_UNSHARED_H_
