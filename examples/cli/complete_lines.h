// SPDX-License-Identifier: Apache-2.0
//
// codegen complete --json-lines: a service for another program.
#ifndef CODEGEN_EXAMPLES_CLI_COMPLETE_LINES_H_
#define CODEGEN_EXAMPLES_CLI_COMPLETE_LINES_H_

#include <absl/status/status.h>

#include "flags.h"
#include "load.h"

namespace cli {

// Completes the prompt of every line of standard input: --concurrency of them at a time through a
// Batcher, or one after the other in a Session. Errors: as Write, Batcher::Create and
// Session::Create.
absl::Status CompleteLines(const Flags& flags, const LoadedModel& loaded);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_COMPLETE_LINES_H_
