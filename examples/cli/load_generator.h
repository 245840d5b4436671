// SPDX-License-Identifier: Apache-2.0
//
// Many clients on one Batcher, and what each of them saw.
//
// In a closed loop every client asks again as soon as it is answered, so the load adapts to the
// speed. In an open loop requests come when they come (a Poisson process), whether or not those
// before are done. A client's clock starts when its request should have been submitted: if
// submitting were late, the delay would be part of the latency and not be left out of it.
#ifndef CODEGEN_EXAMPLES_CLI_LOAD_GENERATOR_H_
#define CODEGEN_EXAMPLES_CLI_LOAD_GENERATOR_H_

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "codegen/codegen.h"
#include "flags.h"
#include "workload.h"

namespace cli {

// How much load: one of these is not 0.
struct LoadPoint {
  int clients = 0;  // closed loop
  double rate = 0;  // open loop, requests per second
};

// One request as its client saw it.
struct ClientRecord {
  codegen::Time asked = {};
  codegen::Time first_token = {};  // Time() if none came
  codegen::Time last_token = {};
  codegen::Time done = {};  // Time() if it was refused
  int tokens = 0;
  // From each token but the first to the one before. Tokens that came together waited for the first
  // of them alone.
  std::vector<double> gaps_s = {};
  bool in_time = false;  // ended by itself, before its deadline
};

struct LoadResult {
  LoadPoint point;
  double seconds = 0;  // from when the first was asked until the last was done
  std::vector<std::unique_ptr<ClientRecord>> records = {};
  // Of the batcher.
  double batch_size = 0;  // mean over its steps
  double kv_usage = 0;    // the highest seen
  std::uint64_t preemptions = 0;
  double prefix_hit_rate = 0;  // share of the prompts' tokens
};

// Gets the share of the work done, and how it goes in a few words. Called on one thread.
using LoadProgress = std::function<void(double share, std::string_view note)>;

// Runs one point on a new batcher, whose caches are empty, after a request to warm up. Blocks.
// Errors: as Batcher::Create and Submit, but not RESOURCE_EXHAUSTED or DEADLINE_EXCEEDED of a
// request: that one is recorded as not in time.
absl::StatusOr<LoadResult> RunLoad(const codegen::Model& model, const Workload& workload,
                                   const Flags& flags, const LoadPoint& point,
                                   const LoadProgress& progress);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_LOAD_GENERATOR_H_
