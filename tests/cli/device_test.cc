// SPDX-License-Identifier: Apache-2.0
//
// --device and its companions on the CPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Outcome CompleteOn(const ModelFolder& model, const Arguments& more) {
  Arguments arguments = {"complete", "--model",          model.path(), "--prompt",
                         "def",      "--max-new-tokens", "8",          "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return RunProgram(arguments);
}

TEST(Device, IsTheCpuUnlessNamed) {
  const ModelFolder model;

  const Json without = OutputOf(CompleteOn(model, {}));
  const Json with = OutputOf(CompleteOn(model, {"--device", "cpu", "--deterministic"}));

  ASSERT_TRUE(with.contains("token_ids")) << with;
  EXPECT_EQ(with["token_ids"], without["token_ids"]);
}

TEST(Device, LastNamedCounts) {
  const ModelFolder model;

  EXPECT_EQ(CompleteOn(model, {"--device", "cuda:1", "--device", "cpu"}).exit_code, 0);
}

TEST(Device, HasMemoryToLimitOnAGpuOnly) {
  const ModelFolder model;

  const Outcome outcome = CompleteOn(model, {"--device-memory", "1000000"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, StartsWith("codegen: INVALID_ARGUMENT: LoadOptions::device_memory is "
                                      "1000000, must be 0 on the CPU"));
  EXPECT_EQ(CompleteOn(model, {"--device-memory", "0"}).exit_code, 0);
}

TEST(Device, IsTunedOnAGpuOnly) {
  const ModelFolder model;

  const Outcome outcome = CompleteOn(model, {"--tune-rows", "512", "--tuning-file", "tuning"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: INVALID_ARGUMENT: LoadOptions::tuning.rows is 512, "
                                      "must be 0 on the CPU"));
}

}  // namespace
}  // namespace codegen::testing
