// SPDX-License-Identifier: Apache-2.0
//
// The instruction sets that tests run on this machine: those of the library's own choice, and AMX
// where only naming it gets it (cpu/isa.h). Some machines fault there, so a child process tries.
#ifndef CODEGEN_TESTS_SUPPORT_CPU_LEVELS_H_
#define CODEGEN_TESTS_SUPPORT_CPU_LEVELS_H_

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <vector>

#include "codegen/options.h"
#include "cpu/isa.h"
#include "cpu/machine_kernels.h"

namespace codegen::testing {

// Whether a process that multiplies tiles lives on; what it computes is for the tests to say. To be
// called before there are threads.
inline bool SurvivesTiles() {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGILL, SIG_DFL);
    const rlimit no_core = {};
    ::setrlimit(RLIMIT_CORE, &no_core);
    const cpu::MachineKernels kernels = cpu::MachineKernelsOf(CpuFeatures::kAmx);
    float sink = 0;
    kernels.int8(64, 0.25F, sink);
    kernels.bf16(64, 0.25F, sink);
    ::_exit(0);
  }
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status);
}

inline std::vector<CpuFeatures> FindTestedLevels() {
  std::vector<CpuFeatures> levels = cpu::SupportedLevels();
  if (levels.back() != CpuFeatures::kAmx && cpu::ChooseLevel(CpuFeatures::kAmx).ok() &&
      SurvivesTiles())
    levels.push_back(CpuFeatures::kAmx);
  return levels;
}

inline const std::vector<CpuFeatures>& TestedLevels() {
  static const std::vector<CpuFeatures> levels = FindTestedLevels();
  return levels;
}

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_CPU_LEVELS_H_
