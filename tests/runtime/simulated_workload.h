// SPDX-License-Identifier: Apache-2.0
//
// What a simulated day brings: options, requests and the moods of hosts, all drawn from one seed.
#ifndef CODEGEN_TESTS_RUNTIME_SIMULATED_WORKLOAD_H_
#define CODEGEN_TESTS_RUNTIME_SIMULATED_WORKLOAD_H_

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "runtime/scheduler.h"

namespace codegen::runtime {

// Splitmix64 (Steele, Lea and Flood 2014): the same numbers everywhere, unlike the distributions of
// the standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0xD1342543DE82EF95U) {}

  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }
  int Below(int n) { return static_cast<int>((*this)() % static_cast<std::uint64_t>(n)); }
  int Between(int low, int high) { return low + Below(high - low + 1); }
  bool OneIn(int n) { return Below(n) == 0; }
  int Pick(std::initializer_list<int> values) {
    return values.begin()[Below(static_cast<int>(values.size()))];
  }
  // In [1, limit], small ones far more often.
  int HeavyTailed(int limit) {
    int bound = 1;
    while (bound < limit && !OneIn(7)) bound *= 2;
    return Between(1, bound < limit ? bound : limit);
  }
  Time::duration Microseconds(int low, int high) {
    return std::chrono::microseconds(Between(low, high));
  }

 private:
  std::uint64_t state_;
};

struct SimulatedRequest {
  Job job = {};
  // The consumer of each sample pauses it beyond so many tokens, and takes so many between two
  // steps.
  int backlog_limit = 1;
  int consumed_per_step = 1;
};

struct Workload {
  SchedulerOptions options = {};
  std::vector<SimulatedRequest> requests = {};  // in order of arrival; ids are 1, 2, ...
  int meddles_one_in = 1;     // how rarely a host cancels, drops, pauses or resumes something
  int shut_down_after = 0;    // steps
  int slow_steps_one_in = 1;  // how rarely a step takes half a minute
};

Workload MakeWorkload(Random& random);

}  // namespace codegen::runtime

#endif  // CODEGEN_TESTS_RUNTIME_SIMULATED_WORKLOAD_H_
