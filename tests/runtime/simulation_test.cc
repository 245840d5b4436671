// SPDX-License-Identifier: Apache-2.0
//
// Days of the scheduler, one for each seed. More of them, or one again:
//
//   CODEGEN_SIMULATION_SEEDS=first:count runtime_test --gtest_filter='*OverSeeds*'
#include "runtime/simulation.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "support/sanitizers.h"

namespace codegen::runtime {
namespace {

struct Seeds {
  std::uint64_t first = 1;
  std::uint64_t count = 0;
};

// Those of a quarter of the test, or what the environment asks for in place of the first.
Seeds SeedsOf(std::uint64_t quarter) {
  constexpr std::uint64_t kCount = sanitizers::kAny ? 500 : 5'000;
  Seeds seeds{.first = 1 + kCount * quarter, .count = kCount};
  const char* const asked = std::getenv("CODEGEN_SIMULATION_SEEDS");
  if (asked == nullptr) return seeds;
  if (quarter > 0) return {};
  char colon = ' ';
  std::istringstream(asked) >> seeds.first >> colon >> seeds.count;
  return seeds;
}

std::string LastOf(const std::vector<std::string>& trace) {
  constexpr std::size_t kLines = 60;
  std::string text;
  for (std::size_t i = trace.size() > kLines ? trace.size() - kLines : 0; i < trace.size(); ++i) {
    text += trace[i] + "\n";
  }
  return text;
}

void ExpectHolds(Seeds seeds, Visits& visits) {
  for (std::uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    const SimulationResult result = Simulate(seed, visits);
    if (result.broken.empty()) continue;
    FAIL() << "seed " << seed << ", step " << result.steps << ": " << result.broken << "\n"
           << LastOf(Simulate(seed, visits, Trace::kYes).trace);
  }
}

class SimulationOverSeeds : public testing::TestWithParam<std::uint64_t> {};

TEST_P(SimulationOverSeeds, HoldsItsInvariants) {
  Visits visits;
  ExpectHolds(SeedsOf(GetParam()), visits);
}

INSTANTIATE_TEST_SUITE_P(Quarter, SimulationOverSeeds, testing::Range<std::uint64_t>(0, 4));

// Which events a phase can see. What runs starts once and is not added; what waits draws nothing.
bool IsLegal(Phase phase, Happening happening) {
  switch (happening) {
    case Happening::kAdd:
      return phase == Phase::kHeld || phase == Phase::kWaiting;
    case Happening::kStart:
      return phase == Phase::kWaiting;
    case Happening::kPreempt:
    case Happening::kToken:
    case Happening::kFinish:
      return phase == Phase::kRunning;
    default:
      return true;
  }
}

TEST(Simulation, VisitsEveryLegalPairOfPhaseAndEventAndNoOther) {
  Visits visits;
  ExpectHolds({.first = 1, .count = 1'000}, visits);

  for (int phase = 0; phase < kPhases; ++phase) {
    for (int happening = 0; happening < kHappenings; ++happening) {
      const auto a = static_cast<Phase>(phase);
      const auto b = static_cast<Happening>(happening);
      EXPECT_EQ(visits.at(a, b) > 0, IsLegal(a, b))
          << "phase " << phase << " event " << happening << ": " << visits.at(a, b);
    }
  }
}

TEST(Simulation, GivesTheSameDayForTheSameSeed) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Visits visits;
    const SimulationResult first = Simulate(seed, visits, Trace::kYes);
    const SimulationResult second = Simulate(seed, visits, Trace::kYes);

    EXPECT_EQ(first.trace, second.trace) << "seed " << seed;
  }
}

}  // namespace
}  // namespace codegen::runtime
