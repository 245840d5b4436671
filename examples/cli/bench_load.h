// SPDX-License-Identifier: Apache-2.0
//
// codegen bench --load: how a model serves many clients at a time.
#ifndef CODEGEN_EXAMPLES_CLI_BENCH_LOAD_H_
#define CODEGEN_EXAMPLES_CLI_BENCH_LOAD_H_

#include <absl/status/status.h>

#include "flags.h"

namespace cli {

// Refuses flags that do not go together: those of the load test without --load, and the like.
// Errors: INVALID_ARGUMENT, naming the flag.
absl::Status CheckLoadTest(const Flags& flags);

// Runs the load test of the flags and prints its report. Errors: as LoadModel, Workload::Create,
// RunLoad and Write, and what the system says of the figure's file.
absl::Status RunLoadTest(const Flags& flags);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_BENCH_LOAD_H_
