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

constexpr const char* kKeys[] = {"family",           "shape",        "parameters",
                                 "weights",          "head_weights", "weight_bytes",
                                 "bytes_per_format", "kv_cache",     "kv_bytes_per_token",
                                 "precision",        "device",       "cpu_features",
                                 "gpu_library",      "end_of_text",  "tokenizer",
                                 "fingerprint",      "warnings"};

TEST(Info, DescribesAModel) {
  const ModelFolder model;

  const Outcome outcome = RunProgram({"info", "--model", model.path(), "--json"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json info = OutputOf(outcome);
  EXPECT_THAT(KeysOf(info), ::testing::ElementsAreArray(kKeys));
  EXPECT_THAT(KeysOf(info["shape"]),
              ElementsAre("layers", "width", "heads", "head_dim", "rotary_dim", "inner",
                          "vocabulary", "context", "qkv_groups"));
  EXPECT_THAT(KeysOf(info["bytes_per_format"]), ElementsAre("f32", "bf16", "f16", "int8", "int4"));
  EXPECT_EQ(info["family"], "codegen1");
  EXPECT_EQ(info["shape"].dump(),
            "{\"layers\":2,\"width\":32,\"heads\":4,\"head_dim\":8,\"rotary_dim\":8,\"inner\":128,"
            "\"vocabulary\":300,\"context\":64,\"qkv_groups\":4}");
  EXPECT_EQ(info["parameters"], 2 * 9600 + 300 + 64 + 2 * 12512);  // embeddings, bias, norm, blocks
  EXPECT_EQ(info["weights"], "f32");
  EXPECT_EQ(info["end_of_text"], kEndOfText);
  EXPECT_EQ(info["tokenizer"], "byte-level-bpe");
  EXPECT_EQ(info["fingerprint"].get<std::string>().size(), 16U);
  EXPECT_GT(info["kv_bytes_per_token"], 0);
  EXPECT_GT(info["bytes_per_format"]["f32"], info["bytes_per_format"]["bf16"]);
}

TEST(Info, SaysHowAModelIsHeldAndComputed) {
  const ModelFolder model;

  const Outcome outcome =
      RunProgram({"info", "--model", model.path(), "--json", "--weights", "int4", "--precision",
                  "exact", "--cpu-features", "portable"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json info = OutputOf(outcome);
  EXPECT_EQ(info["weights"], "int4");
  EXPECT_EQ(info["head_weights"], "int8");
  EXPECT_EQ(info["precision"], "exact");
  EXPECT_EQ(info["kv_cache"], "f32");
  EXPECT_EQ(info["device"], "cpu");
  EXPECT_EQ(info["cpu_features"], "portable");
  EXPECT_EQ(info["gpu_library"], nullptr);
}

TEST(Info, PrintsALineForEachValue) {
  const IdsModelFolder model;

  const Outcome outcome = RunProgram({"info", "--model", model.path()});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("family                codegen1\n"));
  EXPECT_THAT(outcome.out, HasSubstr("\nshape.layers          2\n"));
}

TEST(Info, DescribesATokenizerAlone) {
  const TokenizerFolder folder;

  const Outcome outcome = RunProgram({"info", "--model", folder.path(), "--json"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json info = OutputOf(outcome);
  EXPECT_THAT(KeysOf(info), ::testing::ElementsAreArray(kKeys));
  EXPECT_EQ(info["tokenizer"], "byte-level-bpe");
  EXPECT_TRUE(info["shape"].is_null());
}

TEST(Info, EstimatesTheMemoryOfAModelWithoutWeights) {
  const TokenizerFolder folder;
  folder.Write("config.json", kTinyConfig);

  const Json info = OutputOf(RunProgram({"info", "--model", folder.path(), "--json"}));

  EXPECT_THAT(KeysOf(info), ::testing::ElementsAreArray(kKeys));
  EXPECT_EQ(info["parameters"], 44588);
  EXPECT_TRUE(info["fingerprint"].is_null());
}

TEST(Info, SaysThatAFolderIsEmpty) {
  const ScratchFolder folder;

  const Outcome outcome = RunProgram({"info", "--model", folder.path()});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: NOT_FOUND: "));
  EXPECT_THAT(outcome.err, HasSubstr("config.json"));
}

}  // namespace
}  // namespace codegen::testing
