// SPDX-License-Identifier: Apache-2.0
//
// Completions as JSON: what a line asks for, and what comes back.
#ifndef CODEGEN_EXAMPLES_CLI_COMPLETION_JSON_H_
#define CODEGEN_EXAMPLES_CLI_COMPLETION_JSON_H_

#include <absl/status/statusor.h>

#include "codegen/codegen.h"
#include "flags.h"
#include "output.h"

namespace cli {

// What will complete a request. A Session does one after the other, so it knows nothing of the keys
// that are about many.
enum class Engine { kSession, kBatcher };

// Returns the request of one line; what that leaves out is as the flags say, and its deadline
// counts from now. Errors: INVALID_ARGUMENT, naming the key.
absl::StatusOr<codegen::Request> ReadCompletion(const Json& line, const Flags& flags,
                                                Engine engine);

// Returns `request` with --deadline-ms counting from now.
codegen::Request StartDeadline(codegen::Request request, int deadline_ms);

// Returns what is printed of a completion.
Json ToJson(const codegen::Completion& completion, double load_s);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_COMPLETION_JSON_H_
