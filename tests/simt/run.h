// SPDX-License-Identifier: Apache-2.0
//
// Running a kernel in a test of the emulator, without streams and launches.
#ifndef CODEGEN_TESTS_SIMT_RUN_H_
#define CODEGEN_TESTS_SIMT_RUN_H_

#include <absl/functional/function_ref.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/simt/grid.h"
#include "support/simt/schedule.h"

namespace codegen::simt {

// What the emulator says to one launch under `schedule`.
inline std::vector<std::string> RunOnce(const Schedule& schedule, const GridShape& shape,
                                    absl::FunctionRef<void()> kernel) {
  const ScopedSchedule use(schedule);
  const bool ok = RunGrid(shape, "kernel", kernel);
  std::vector<std::string> diagnostics = TakeDiagnostics();
  EXPECT_EQ(ok, diagnostics.empty());
  return diagnostics;
}

// Launches the kernel under every schedule, each time followed by check().
inline void RunCorrect(const GridShape& shape, absl::FunctionRef<void()> kernel,
                       absl::FunctionRef<void()> check) {
  for (const Schedule& schedule : AllSchedules()) {
    SCOPED_TRACE(testing::PrintToString(schedule));
    EXPECT_THAT(RunOnce(schedule, shape, kernel), testing::IsEmpty());
    check();
  }
}

// The same for one block of `threads` threads.
inline void RunCorrect(int threads, absl::FunctionRef<void()> kernel,
                       absl::FunctionRef<void()> check) {
  RunCorrect({.grid = dim3(1), .block = dim3(static_cast<unsigned>(threads))}, kernel, check);
}

// Launches a kernel of one block under every schedule: each time one diagnostic, with `text`.
inline void RunWrong(int threads, const std::string& text, absl::FunctionRef<void()> kernel) {
  const GridShape shape{.grid = dim3(1), .block = dim3(static_cast<unsigned>(threads))};
  for (const Schedule& schedule : AllSchedules()) {
    SCOPED_TRACE(testing::PrintToString(schedule));
    EXPECT_THAT(RunOnce(schedule, shape, kernel), testing::ElementsAre(testing::HasSubstr(text)));
  }
}

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SIMT_RUN_H_
