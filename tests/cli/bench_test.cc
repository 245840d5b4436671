// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Bench, PrintsTheObjectOthersRelyOn) {
  const ScratchFolder folder;
  const std::string config = folder.Write("config.json", kTinyConfig);

  const Outcome outcome =
      RunProgram({"bench", "--dummy-weights", config, "--json", "--prompt-tokens", "4,8",
                  "--new-tokens", "2", "--batch", "1,3", "--threads", "2"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json result = OutputOf(outcome);
  EXPECT_THAT(KeysOf(result),
              ElementsAre("device", "gpu_library", "machine", "weights", "head_weights",
                          "weight_bytes", "kv_cache", "precision", "peak", "load_s", "results"));
  EXPECT_THAT(KeysOf(result["machine"]),
              ElementsAre("threads", "isa", "read_gb_s", "f32_gflops", "bf16_gflops", "int8_gops"));
  EXPECT_EQ(result["device"], "cpu");
  EXPECT_EQ(result["gpu_library"], nullptr);
  EXPECT_EQ(result["machine"]["threads"], 2);
  EXPECT_EQ(result["weights"], "bf16");
  EXPECT_EQ(result["precision"], "fast");
  EXPECT_EQ(result["kv_cache"], "bf16");
  EXPECT_GT(result["weight_bytes"], 0);
  ASSERT_EQ(result["results"].size(), 4U);
  const Json& prefill = result["results"][1];
  EXPECT_THAT(KeysOf(prefill), ElementsAre("what", "tokens", "tok_s", "share_of_peak"));
  EXPECT_EQ(prefill["what"], "prefill");
  EXPECT_EQ(prefill["tokens"], 8);
  const Json& decode = result["results"][3];
  EXPECT_THAT(KeysOf(decode),
              ElementsAre("what", "batch", "context", "tok_s", "share_of_bandwidth"));
  EXPECT_EQ(decode["what"], "decode");
  EXPECT_EQ(decode["batch"], 3);
  EXPECT_EQ(decode["context"], 4);
}

TEST(Bench, PrintsATable) {
  const IdsModelFolder model;

  const Outcome outcome = RunProgram({"bench", "--model", model.path(), "--prompt-tokens", "4",
                                      "--new-tokens", "2", "--batch", "2"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("machine  "));
  EXPECT_THAT(outcome.out, HasSubstr("\nprefill        4 "));
  EXPECT_THAT(outcome.out, HasSubstr("\ndecode                2        4 "));
}

TEST(Bench, RefusesLengthsBeyondTheContext) {
  const IdsModelFolder model;

  const Outcome outcome = RunProgram({"bench", "--model", model.path(), "--prompt-tokens", "65"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: INVALID_ARGUMENT: "));
}

}  // namespace
}  // namespace codegen::testing
