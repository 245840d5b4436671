// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Score, PrintsTheObjectOthersRelyOn) {
  const ModelFolder model;

  const Outcome outcome =
      RunProgram({"score", "--model", model.path(), "--json", "--prompt", "def f"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json result = OutputOf(outcome);
  EXPECT_THAT(KeysOf(result), ElementsAre("token_ids", "logprobs", "perplexity"));
  EXPECT_EQ(result["token_ids"], Json({257, 32, 102}));
  ASSERT_EQ(result["logprobs"].size(), 2U);
  const double mean =
      (result["logprobs"][0].get<double>() + result["logprobs"][1].get<double>()) / 2;
  EXPECT_LT(mean, 0);
  EXPECT_NEAR(result["perplexity"].get<double>(), std::exp(-mean), 1e-5 * std::exp(-mean));
}

TEST(Score, IsTheSameForTextAndItsIds) {
  const ModelFolder model;

  const Outcome text = RunProgram({"score", "--model", model.path(), "--json"}, "def f");
  const Outcome ids =
      RunProgram({"score", "--model", model.path(), "--json", "--prompt-ids", "257,32,102"});

  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, ids.out);
}

TEST(Score, PrintsALineForEachToken) {
  const ModelFolder model;

  const Outcome outcome = RunProgram({"score", "--model", model.path(), "--prompt", "def\n"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 3);
  EXPECT_THAT(outcome.out, HasSubstr("   257 \"def\"\n"));
  EXPECT_THAT(outcome.out, HasSubstr("    10 \"\\n\"\n"));
  EXPECT_THAT(outcome.out, HasSubstr("\nperplexity "));
}

TEST(Score, HasNoProbabilityForASingleToken) {
  const IdsModelFolder model;

  const Json result =
      OutputOf(RunProgram({"score", "--model", model.path(), "--json", "--prompt-ids", "7"}));

  EXPECT_EQ(result["logprobs"], Json::array());
  EXPECT_EQ(result["perplexity"], 1);
}

TEST(Score, RefusesAnIdBeyondTheVocabulary) {
  const IdsModelFolder model;

  const Outcome outcome = RunProgram({"score", "--model", model.path(), "--prompt-ids", "7,300"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: INVALID_ARGUMENT: "));
  EXPECT_THAT(outcome.err, HasSubstr("300"));
}

}  // namespace
}  // namespace codegen::testing
