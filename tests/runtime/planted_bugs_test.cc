// SPDX-License-Identifier: Apache-2.0
//
// Whether the simulation can fail: this program is made of copies of the sources that hold bugs,
// one of them active at a time, and each has to be found.
#include "runtime/planted_bugs.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>

#include "runtime/simulation.h"

namespace planted {

int active = -1;

}  // namespace planted

namespace codegen::runtime {
namespace {

constexpr const char* kBugs[] = {
#include "planted_names.inc"
};
constexpr int kCount = static_cast<int>(std::size(kBugs));
constexpr std::uint64_t kSeeds = 20'000;
constexpr unsigned kSeconds = 120;

enum Outcome { kFound = 17, kMissed = 18 };  // exit codes

[[noreturn]] void LookFor(int bug) {
  planted::active = bug;
  alarm(kSeconds);
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Visits visits;
    const SimulationResult result = Simulate(seed, visits);
    if (result.broken.empty()) continue;
    std::printf("seed %d: %s\n", static_cast<int>(seed), result.broken.c_str());
    std::fflush(stdout);
    std::_Exit(kFound);
  }
  std::_Exit(kMissed);
}

class PlantedBug : public testing::TestWithParam<int> {};

// In a process of its own, for what a bug may do to memory.
TEST_P(PlantedBug, IsFoundWithinTwentyThousandSeeds) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) LookFor(GetParam());

  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);

  ASSERT_TRUE(WIFEXITED(status)) << kBugs[GetParam()] << " ends by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), kFound) << kBugs[GetParam()];
}

std::string NameOf(const testing::TestParamInfo<int>& bug) {
  std::string name = kBugs[bug.param];
  std::ranges::replace(name, ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Each, PlantedBug, testing::Range(0, kCount), NameOf);

TEST(PlantedBugs, BreakNothingWhileNoneIsActive) {
  for (std::uint64_t seed = 1; seed <= 1'000; ++seed) {
    Visits visits;
    const SimulationResult result = Simulate(seed, visits);
    ASSERT_EQ(result.broken, "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace codegen::runtime
