// SPDX-License-Identifier: Apache-2.0
//
// complete --json-lines --concurrency: many lines in one batch.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

constexpr const char* kTinyPython = CODEGEN_SOURCE_DIR "/examples/models/codegen-tiny-python";

std::vector<Json> ServeTogether(const std::string& model, int concurrency,
                                const std::string& requests, const Arguments& more = {}) {
  Arguments arguments = {"complete",     "--model",       model,
                         "--json-lines", "--concurrency", std::to_string(concurrency)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = RunProgram(arguments, requests);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return LinesOf(outcome);
}

std::vector<Json> ValuesOf(const std::vector<Json>& lines, const char* key) {
  std::vector<Json> values;
  for (const Json& line : lines) values.push_back(line.value(key, Json()));
  return values;
}

std::string ErrorMessage(const Json& line) {
  if (!line.contains("error")) return "no error";
  return line["error"]["code"].get<std::string>() + ": " +
         line["error"]["message"].get<std::string>();
}

// A long request and a short one: together, the short one is ready first.
std::string LongAndShort(const std::string& of_long, const std::string& of_short) {
  return fmt::format(
      "{{{} \"prompt\": \"def\", \"max_new_tokens\": 400, \"ignore_eos\": true}}\n"
      "{{{} \"prompt\": \"def\", \"max_new_tokens\": 1}}\n",
      of_long, of_short);
}

TEST(CompleteLines, AnswersWithIdsComeAsTheyAreReady) {
  const std::vector<Json> lines =
      ServeTogether(kTinyPython, 4, LongAndShort("\"id\": \"long\",", "\"id\": \"short\","));

  EXPECT_THAT(ValuesOf(lines, "id"), ElementsAre("short", "long"));
}

TEST(CompleteLines, AnswersWithoutIdsKeepTheOrderOfTheirLines) {
  const std::vector<Json> lines = ServeTogether(kTinyPython, 4, LongAndShort("", ""));

  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["usage"]["completion_tokens"], 400);
  EXPECT_EQ(lines[1]["usage"]["completion_tokens"], 1);
}

TEST(CompleteLines, AnswersWithIdsPassThoseWithout) {
  const std::vector<Json> lines =
      ServeTogether(kTinyPython, 8,
                    LongAndShort("", "\"id\": 1,") + "not JSON\n" + LongAndShort("\"id\": 2,", ""));

  ASSERT_EQ(lines.size(), 5U);
  std::vector<std::string> without;
  for (const Json& line : lines)
    if (!line.contains("id")) without.push_back(line.contains("error") ? "error" : "text");
  EXPECT_THAT(without, ElementsAre("text", "error", "text"));
  EXPECT_EQ(lines[0]["id"], 1);
}

TEST(CompleteLines, GivesTheSameTextAsOneByOne) {
  const ModelFolder model;
  std::string requests;
  for (int i = 0; i < 40; ++i) {
    requests += fmt::format(
        "{{\"prompt\": \"def f{}\", \"max_new_tokens\": {}, \"temperature\": {}, \"seed\": {}}}\n",
        i, 1 + i % 13, i % 3, i);
  }

  const std::vector<Json> together = ServeTogether(model.path(), 7, requests);

  const std::vector<Json> one_by_one = ServeTogether(model.path(), 1, requests);
  EXPECT_EQ(together.size(), 40U);
  EXPECT_EQ(ValuesOf(together, "text"), ValuesOf(one_by_one, "text"));
  EXPECT_EQ(ValuesOf(together, "token_ids"), ValuesOf(one_by_one, "token_ids"));
  EXPECT_EQ(ValuesOf(together, "finish_reason"), ValuesOf(one_by_one, "finish_reason"));
  EXPECT_EQ(KeysOf(together[0]), KeysOf(one_by_one[0]));
}

TEST(CompleteLines, AnswersAreThereBeforeTheNextLineComes) {
  const ModelFolder model;
  Conversation program({"complete", "--model", model.path(), "--json-lines", "--concurrency", "4"});

  program.Say("{\"id\": 1, \"prompt\": \"def\", \"max_new_tokens\": 2}");
  EXPECT_THAT(program.Hear(), StartsWith("{\"id\":1,\"text\":"));
  program.Say("{");
  EXPECT_THAT(program.Hear(), StartsWith("{\"error\":"));
  program.Say("{\"prompt\": \"def\", \"max_new_tokens\": 2}");
  EXPECT_THAT(program.Hear(), StartsWith("{\"text\":"));

  EXPECT_EQ(program.End(), 0);
}

TEST(CompleteLines, ServesGoodLinesBetweenBadOnes) {
  const ModelFolder model;

  const std::vector<Json> lines =
      ServeTogether(model.path(), 3,
                    "{\"id\": 1, \"prompt\": \"def\", \"max_new_tokens\": 3}\n"
                    "{\"id\": 2, \"prompt\": \"def\", \"max_new_tokens\": \"3\"}\n"
                    "\n"
                    "{\"id\": 3, \"prompt\": \"def\", \"temperature\": -1}\n"
                    "{\"id\": 4, \"prompt\": \"\"}\n"
                    "{\"id\": 5, \"prompt\": \"def\", \"max_new_tokens\": 3}\n");

  EXPECT_THAT(ValuesOf(lines, "id"), UnorderedElementsAre(1, 2, 3, 4, 5));
  for (const Json& line : lines) {
    const bool good = line["id"] == 1 || line["id"] == 5;
    EXPECT_EQ(line.contains("text"), good) << line;
    EXPECT_EQ(ErrorMessage(line).starts_with("INVALID_ARGUMENT: "), !good) << line;
  }
}

TEST(CompleteLines, EndsWhatIsLate) {
  const std::string request =
      "{\"prompt\": \"def\", \"max_new_tokens\": 500, \"ignore_eos\": true, \"deadline_ms\": 5}\n";

  const std::vector<Json> lines = ServeTogether(kTinyPython, 2, request);

  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["finish_reason"], "deadline") << lines[0];
  EXPECT_LT(lines[0]["token_ids"].size(), 500U);
}

TEST(CompleteLines, RefusesWhatIsLateAlready) {
  const ModelFolder model;

  const std::vector<Json> lines =
      ServeTogether(model.path(), 2, "{\"id\": 1, \"prompt\": \"def\", \"deadline_ms\": -1}\n");

  ASSERT_EQ(lines.size(), 1U);
  EXPECT_THAT(ErrorMessage(lines[0]), StartsWith("DEADLINE_EXCEEDED: "));
}

TEST(CompleteLines, TakesADeadlineFromTheFlags) {
  const std::string request =
      "{\"prompt\": \"def\", \"max_new_tokens\": 500, \"ignore_eos\": true}\n"
      "{\"prompt\": \"def\", \"max_new_tokens\": 2, \"ignore_eos\": true, \"deadline_ms\": 0}\n";

  for (const int concurrency : {1, 2}) {
    const std::vector<Json> lines =
        ServeTogether(kTinyPython, concurrency, request, {"--deadline-ms", "5"});

    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0]["finish_reason"], "deadline") << lines[0];
    EXPECT_EQ(lines[1]["finish_reason"], "length") << lines[1];
  }
}

TEST(CompleteLines, DrawsSeveralSamples) {
  const ModelFolder model;
  const auto request = [](const char* more) {
    return fmt::format(
        "{{\"prompt\": \"def\", \"max_new_tokens\": 8, \"temperature\": 3, \"seed\": 5, "
        "\"ignore_eos\": true{}}}\n",
        more);
  };

  const std::vector<Json> lines =
      ServeTogether(model.path(), 4, request(", \"n\": 3") + request(""));

  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(KeysOf(lines[0]),
              ElementsAre("text", "token_ids", "finish_reason", "more", "usage", "timings"));
  ASSERT_EQ(lines[0]["more"].size(), 2U);
  EXPECT_THAT(KeysOf(lines[0]["more"][1]), ElementsAre("text", "token_ids", "finish_reason"));
  EXPECT_EQ(lines[0]["usage"]["completion_tokens"], 24);
  EXPECT_EQ(lines[0]["token_ids"], lines[1]["token_ids"]);
  EXPECT_NE(lines[0]["more"][0]["token_ids"], lines[0]["token_ids"]);
  EXPECT_FALSE(lines[1].contains("more"));
}

TEST(CompleteLines, TakesPriorityAndSalt) {
  const ModelFolder model;

  std::vector<Json> lines =
      ServeTogether(model.path(), 2,
                    "{\"id\": 1, \"prompt\": \"def\", \"max_new_tokens\": 2, \"priority\": -100, "
                    "\"cache_salt\": \"tenant\"}\n"
                    "{\"id\": 2, \"prompt\": \"def\", \"priority\": 101}\n"
                    "{\"id\": 3, \"prompt\": \"def\", \"priority\": \"low\"}\n"
                    "{\"id\": 4, \"prompt\": \"def\", \"n\": 17}\n",
                    {"--priority", "7"});

  ASSERT_EQ(lines.size(), 4U);
  std::ranges::sort(lines, {}, [](const Json& line) { return line["id"].get<int>(); });
  EXPECT_EQ(lines[0]["usage"]["completion_tokens"], 2) << lines[0];
  EXPECT_THAT(ErrorMessage(lines[1]), HasSubstr("priority"));
  EXPECT_THAT(ErrorMessage(lines[2]), HasSubstr("\"priority\": expected"));
  EXPECT_THAT(ErrorMessage(lines[3]), StartsWith("INVALID_ARGUMENT: n"));
}

TEST(CompleteLines, OneByOneKnowsNothingOfOtherRequests) {
  const ModelFolder model;

  const std::vector<Json> lines = ServeTogether(model.path(), 1,
                                                "{\"prompt\": \"def\", \"priority\": 1}\n"
                                                "{\"prompt\": \"def\", \"n\": 2}\n"
                                                "{\"prompt\": \"def\", \"cache_salt\": \"x\"}\n");

  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(ErrorMessage(lines[0]),
            "INVALID_ARGUMENT: \"priority\": needs --concurrency of at least 2");
  EXPECT_THAT(ErrorMessage(lines[1]), StartsWith("INVALID_ARGUMENT: \"n\": needs"));
  EXPECT_THAT(ErrorMessage(lines[2]), StartsWith("INVALID_ARGUMENT: \"cache_salt\": needs"));
}

TEST(CompleteLines, ServesMoreLinesThanFitIntoOneBatch) {
  const ModelFolder model;
  std::string requests;
  for (int i = 0; i < 300; ++i)
    requests +=
        fmt::format("{{\"id\": {}, \"prompt\": \"d\", \"max_new_tokens\": {}}}\n", i, i % 5);

  std::vector<Json> ids = ValuesOf(ServeTogether(model.path(), 16, requests), "id");

  std::ranges::sort(ids);
  ASSERT_EQ(ids.size(), 300U);
  for (int i = 0; i < 300; ++i) EXPECT_EQ(ids[static_cast<std::size_t>(i)], i);
}

TEST(CompleteLines, ServesAModelWithoutATokenizer) {
  const IdsModelFolder model;

  const std::vector<Json> lines = ServeTogether(model.path(), 2,
                                                "{\"prompt_ids\": [1, 2], \"max_new_tokens\": 2}\n"
                                                "{\"prompt\": \"def\"}\n");

  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["usage"]["prompt_tokens"], 2);
  EXPECT_THAT(ErrorMessage(lines[1]), StartsWith("FAILED_PRECONDITION: "));
}

TEST(Complete, EndsAtItsDeadline) {
  const Outcome outcome =
      RunProgram({"complete", "--model", kTinyPython, "--prompt", "def", "--max-new-tokens", "500",
                  "--ignore-eos", "--deadline-ms", "5", "--json"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(OutputOf(outcome)["finish_reason"], "deadline");
}

}  // namespace
}  // namespace codegen::testing
