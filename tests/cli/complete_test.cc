// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "cli/model_folder.h"
#include "cli/program.h"
#include "support/shared_files.h"

namespace codegen::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Arguments Complete(const ScratchFolder& model, const Arguments& more) {
  Arguments arguments = {"complete",         "--model", model.path(),
                         "--max-new-tokens", "12",      "--ignore-eos"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(Complete, PrintsTheObjectOthersRelyOn) {
  const ModelFolder model;

  const Outcome outcome = RunProgram(Complete(model, {"--json", "--prompt", "def f"}));

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json result = OutputOf(outcome);
  EXPECT_THAT(KeysOf(result),
              ElementsAre("text", "token_ids", "finish_reason", "usage", "timings"));
  EXPECT_THAT(KeysOf(result["usage"]), ElementsAre("prompt_tokens", "completion_tokens"));
  EXPECT_THAT(KeysOf(result["timings"]),
              ElementsAre("load_s", "prefill_s", "decode_s", "tokens_per_s"));
  EXPECT_TRUE(result["text"].is_string());
  EXPECT_EQ(result["token_ids"].size(), 12U);
  EXPECT_EQ(result["finish_reason"], "length");
  EXPECT_EQ(result["usage"]["prompt_tokens"], 3);  // "def", " ", "f"
  EXPECT_EQ(result["usage"]["completion_tokens"], 12);
  for (const auto& [key, value] : result["timings"].items())
    EXPECT_GT(value.get<double>(), 0) << key;
  EXPECT_EQ(outcome.err, "");
}

TEST(Complete, PrintsHowLikelyEachTokenWas) {
  const ModelFolder model;

  const Json result = OutputOf(RunProgram(
      Complete(model, {"--json", "--prompt", "def f", "--temperature", "1", "--logprobs"})));

  EXPECT_THAT(KeysOf(result),
              ElementsAre("text", "token_ids", "logprobs", "finish_reason", "usage", "timings"));
  ASSERT_EQ(result["logprobs"].size(), 12U);
  for (const Json& logprob : result["logprobs"]) EXPECT_LE(logprob.get<double>(), 0);
}

TEST(Complete, PrintsTheSameFromAModelInParts) {
  const ModelFolder model;

  const Outcome whole = RunProgram(Complete(model, {"--prompt", "def f"}));
  const Outcome parts = RunProgram(
      Complete(model, {"--prompt", "def f", "--threads", "2", "--tensor-parallel", "2"}));
  const Outcome refused =
      RunProgram(Complete(model, {"--prompt", "def f", "--tensor-parallel", "7"}));

  ASSERT_EQ(parts.exit_code, 0) << parts.err;
  EXPECT_EQ(parts.out, whole.out);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("parallel.tensor is 7, must divide the"));
}

TEST(Complete, PrintsTheTextAlone) {
  const ModelFolder model;

  const Outcome text = RunProgram(Complete(model, {"--prompt", "def f"}));
  const Outcome json = RunProgram(Complete(model, {"--json", "--prompt", "def f"}));

  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, OutputOf(json)["text"].get<std::string>());
}

TEST(Complete, ReadsThePromptFromAnywhere) {
  const ModelFolder model;
  const std::string prompt = "def \n [x], --json\n";
  const std::string file = model.Write("prompt.txt", prompt);

  const Outcome flag = RunProgram(Complete(model, {"--prompt", prompt}));

  ASSERT_EQ(flag.exit_code, 0) << flag.err;
  EXPECT_EQ(RunProgram(Complete(model, {"--prompt=" + prompt})).out, flag.out);
  EXPECT_EQ(RunProgram(Complete(model, {"--prompt-file", file})).out, flag.out);
  EXPECT_EQ(RunProgram(Complete(model, {}), prompt).out, flag.out);
}

TEST(Complete, TakesAPromptThatLooksLikeAFlag) {
  const ModelFolder model;

  const Outcome outcome = RunProgram(Complete(model, {"--prompt", "--json"}));

  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, RunProgram(Complete(model, {}), "--json").out);
}

TEST(Complete, RefusesAnEmptyPrompt) {
  const ModelFolder model;

  for (const Arguments& arguments : {Complete(model, {}), Complete(model, {"--prompt", ""})}) {
    const Outcome outcome = RunProgram(arguments);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, StartsWith("codegen: INVALID_ARGUMENT: "));
  }
}

TEST(Complete, SaysWhichPromptFileIsMissing) {
  const ModelFolder model;

  const Outcome outcome = RunProgram(Complete(model, {"--prompt-file", "no/such/prompt"}));

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: NOT_FOUND: no/such/prompt"));
}

TEST(Complete, WorksWithTokenIdsWhereThereIsNoTokenizer) {
  const IdsModelFolder model;

  const Outcome plain = RunProgram(Complete(model, {"--prompt-ids", "257, 32,102"}));
  const Outcome json = RunProgram(Complete(model, {"--json", "--prompt-ids", "257,32,102"}));

  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json result = OutputOf(json);
  EXPECT_EQ(result["text"], "");
  EXPECT_EQ("[" + plain.out, result["token_ids"].dump().substr(0, plain.out.size()) + "\n");
}

TEST(Complete, RefusesTextWhereThereIsNoTokenizer) {
  const IdsModelFolder model;

  const Outcome outcome = RunProgram(Complete(model, {"--prompt", "def"}));

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: FAILED_PRECONDITION: "));
}

TEST(Complete, TakesTheTokenizerOfAnotherFolder) {
  const ModelFolder whole;
  const IdsModelFolder model;
  const TokenizerFolder tokenizer;

  const Outcome outcome =
      RunProgram(Complete(model, {"--tokenizer", tokenizer.path(), "--prompt", "def"}));

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, RunProgram(Complete(whole, {"--prompt", "def"})).out);
}

TEST(Complete, GivesTheSameForTheSameSeedOnly) {
  const ModelFolder model;
  const auto sample = [&model](const char* seed) {
    return RunProgram(Complete(model, {"--prompt", "def", "--temperature", "5", "--top-k", "200",
                                       "--top-p", "0.99", "--seed", seed}))
        .out;
  };

  EXPECT_EQ(sample("18446744073709551615"), sample("18446744073709551615"));
  EXPECT_NE(sample("1"), sample("2"));
}

TEST(Complete, EndsBeforeAnyOfTheStopStrings) {
  const ModelFolder model;
  const Arguments base = {"--json", "--prompt",         "def", "--temperature",
                          "5",      "--max-new-tokens", "40"};
  const std::string text = OutputOf(RunProgram(Complete(model, base)))["text"];
  const auto is_graphic = [](char c) { return c > ' ' && c < '\x7f'; };
  const std::string end(1, *std::find_if(text.begin(), text.end() - 1, is_graphic));

  Arguments stopping = base;
  stopping.insert(stopping.end(), {"--stop", "never, [there]", "--stop", end});
  const Json result = OutputOf(RunProgram(Complete(model, stopping)));

  EXPECT_EQ(result["finish_reason"], "stop");
  EXPECT_EQ(result["text"], text.substr(0, text.find(end)));
}

TEST(Complete, RecognisesControlStringsOnlyWhenAsked) {
  const ModelFolder model;
  const auto prompt_tokens = [&model](const Arguments& more) {
    Arguments arguments = Complete(model, {"--json", "--prompt", "<|endoftext|>"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return OutputOf(RunProgram(arguments))["usage"]["prompt_tokens"];
  };

  EXPECT_EQ(prompt_tokens({}), 13);
  EXPECT_EQ(prompt_tokens({"--special"}), 1);
}

TEST(Complete, DoesNotDependOnThreads) {
  const ModelFolder model;

  const Outcome one = RunProgram(Complete(model, {"--prompt", "def", "--threads", "1"}));
  const Outcome three = RunProgram(Complete(model, {"--prompt", "def", "--threads", "3"}));

  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(one.out, three.out);
}

TEST(Complete, HoldsWeightsAsAsked) {
  const ModelFolder model;

  for (const char* weights : {"auto", "f32", "bf16", "f16", "int8", "int4"}) {
    const Outcome outcome = RunProgram(Complete(model, {"--prompt", "def", "--weights", weights}));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  }
}

TEST(Complete, SaysHowLongAPromptMayBe) {
  const ModelFolder model;

  const Outcome outcome = RunProgram(Complete(model, {"--prompt", std::string(65, 'x')}));

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: INVALID_ARGUMENT: "));
  EXPECT_THAT(outcome.err, HasSubstr("65"));
  EXPECT_THAT(outcome.err, HasSubstr("64"));
}

TEST(Complete, ContinuesTextWithTheModelThatIsShipped) {
  const std::string model = ShippedModel();
  if (!std::filesystem::exists(model + "/config.json")) GTEST_SKIP() << "no " << model;

  const Outcome outcome = RunProgram(
      {"complete", "--model", model, "--prompt", "def fib(n):", "--max-new-tokens", "40"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out, "");
}

}  // namespace
}  // namespace codegen::testing
