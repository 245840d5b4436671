// SPDX-License-Identifier: Apache-2.0
//
// The scheduler and the key-value memory as they are shipped, driven through a simulated day by a
// seed: a virtual clock, a device that is a pure function, hosts that cancel, drop, pause and
// resume at every moment. The same seed gives the same day.
#ifndef CODEGEN_TESTS_RUNTIME_SIMULATION_H_
#define CODEGEN_TESTS_RUNTIME_SIMULATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/observer.h"

namespace codegen::runtime {

struct SimulationResult {
  std::string broken = {};  // the rule that did not hold, if one did not
  int steps = 0;
  std::vector<std::string> trace = {};  // if one was asked for: what happened, the latest last
};

enum class Trace { kNo, kYes };

SimulationResult Simulate(std::uint64_t seed, Visits& visits, Trace trace = Trace::kNo);

}  // namespace codegen::runtime

#endif  // CODEGEN_TESTS_RUNTIME_SIMULATION_H_
