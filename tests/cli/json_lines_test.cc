// SPDX-License-Identifier: Apache-2.0
//
// complete and score as a service for another program: one request a line, one answer a line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<Json> Serve(const ScratchFolder& model, const std::string& requests,
                        const std::string& command = "complete") {
  const Outcome outcome = RunProgram({command, "--model", model.path(), "--json-lines"}, requests);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return LinesOf(outcome);
}

// Serves one line and returns the message of its error, after "CODE: ".
std::string ErrorOf(const ScratchFolder& model, const std::string& request,
                    const std::string& command = "complete") {
  const std::vector<Json> lines = Serve(model, request + "\n", command);
  if (lines.size() != 1 || !lines[0].contains("error")) return "no error";
  EXPECT_EQ(KeysOf(lines[0]["error"]), std::vector<std::string>({"code", "message"}));
  return lines[0]["error"]["code"].get<std::string>() + ": " +
         lines[0]["error"]["message"].get<std::string>();
}

TEST(JsonLines, ServesGoodLinesBetweenBadOnes) {
  const ModelFolder model;

  const std::vector<Json> lines =
      Serve(model,
            "{\"id\": \"a\", \"prompt\": \"def\", \"max_new_tokens\": 3}\n"
            "this is not JSON\n"
            "\n"
            "  \r\n"
            "{\"id\": 7, \"prompt\": \"def\", \"max_new_tokens\": \"3\"}\n"
            "{\"id\": 2.5, \"prompt\": \"def\", \"max_new_tokens\": 3}");

  ASSERT_EQ(lines.size(), 4U);
  EXPECT_THAT(KeysOf(lines[0]),
              ElementsAre("id", "text", "token_ids", "finish_reason", "usage", "timings"));
  EXPECT_EQ(lines[0]["id"], "a");
  EXPECT_THAT(KeysOf(lines[1]), ElementsAre("error"));
  EXPECT_THAT(KeysOf(lines[2]), ElementsAre("id", "error"));
  EXPECT_EQ(lines[2]["id"], 7);
  EXPECT_EQ(lines[3]["id"], 2.5);
  EXPECT_EQ(lines[3]["token_ids"], lines[0]["token_ids"]);
}

TEST(JsonLines, AnswersEachLineBeforeTheNextOneComes) {
  const ModelFolder model;
  Conversation program({"complete", "--model", model.path(), "--json-lines"});

  program.Say("{\"id\": 1, \"prompt\": \"def\", \"max_new_tokens\": 2}");
  EXPECT_THAT(program.Hear(), StartsWith("{\"id\":1,\"text\":"));
  program.Say("{");
  EXPECT_THAT(program.Hear(), StartsWith("{\"error\":"));
  program.Say("{\"id\": 2, \"prompt\": \"def\", \"max_new_tokens\": 2}");
  EXPECT_THAT(program.Hear(), StartsWith("{\"id\":2,\"text\":"));

  EXPECT_EQ(program.End(), 0);
}

TEST(JsonLines, TakesEveryFieldOfARequest) {
  const ModelFolder model;

  const std::vector<Json> lines =
      Serve(model,
            "{\"id\": 1, \"prompt\": \"<|endoftext|>\", \"max_new_tokens\": 4, \"temperature\": "
            "2.5, \"top_k\": 100, "
            "\"top_p\": 0.9, \"min_p\": 0.01, \"repetition_penalty\": 1.1, "
            "\"frequency_penalty\": 0.5, \"presence_penalty\": -0.5, "
            "\"logit_bias\": {\"5\": -100, \"7\": 0.5}, \"logprobs\": true, \"seed\": "
            "18446744073709551615, "
            "\"stop\": [\"[never]\", \"there\"], "
            "\"ignore_eos\": true, \"special\": true}\n"
            "{\"prompt_ids\": [258], \"max_new_tokens\": 0}\n");

  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["usage"]["prompt_tokens"], 1);
  EXPECT_EQ(lines[0]["usage"]["completion_tokens"], 4);
  EXPECT_EQ(lines[0]["logprobs"].size(), 4U);
  EXPECT_FALSE(lines[1].contains("logprobs"));
  EXPECT_EQ(lines[1]["usage"]["completion_tokens"], 0);
  EXPECT_EQ(lines[1]["finish_reason"], "length");
}

TEST(JsonLines, TakesWhatALineLeavesOutFromTheFlags) {
  const ModelFolder model;

  const std::vector<Json> lines =
      LinesOf(RunProgram({"complete", "--model", model.path(), "--json-lines", "--max-new-tokens",
                          "5", "--ignore-eos"},
                         "{\"prompt\": \"def\"}\n{\"prompt\": \"def\", \"max_new_tokens\": "
                         "2}\n{\"prompt\": \"def\"}\n"));

  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0]["token_ids"].size(), 5U);
  EXPECT_EQ(lines[1]["token_ids"].size(), 2U);
  EXPECT_EQ(lines[2]["token_ids"], lines[0]["token_ids"]);
}

TEST(JsonLines, RefusesLinesThatAreNoRequest) {
  const ModelFolder model;

  EXPECT_THAT(ErrorOf(model, "{\"prompt\": \"x\"} {}"), StartsWith("INVALID_ARGUMENT: not JSON"));
  EXPECT_THAT(ErrorOf(model, "{\"prompt\": \"\xff\"}"), StartsWith("INVALID_ARGUMENT: not JSON"));
  EXPECT_THAT(ErrorOf(model, "[1]"),
              StartsWith("INVALID_ARGUMENT: expected a JSON object, found array"));
  EXPECT_THAT(ErrorOf(model, "null"), StartsWith("INVALID_ARGUMENT: expected a JSON object"));
  EXPECT_THAT(ErrorOf(model, "{\"temperature\": 1e999}"), StartsWith("INVALID_ARGUMENT: not JSON"));
  EXPECT_THAT(ErrorOf(model, std::string(100'000, '[')), StartsWith("INVALID_ARGUMENT: "));
  EXPECT_THAT(ErrorOf(model, "{\"stop\": " + std::string(1000, '[') + std::string(1000, ']') + "}"),
              StartsWith("INVALID_ARGUMENT: JSON nested deeper"));
}

TEST(JsonLines, RefusesUnknownKeysByName) {
  const ModelFolder model;

  EXPECT_EQ(ErrorOf(model, "{\"prompt\": \"x\", \"max_tokens\": 3}"),
            "INVALID_ARGUMENT: unknown key \"max_tokens\"");
  EXPECT_EQ(ErrorOf(model, "{\"prompt\": \"x\", \"seed\": 3}", "score"),
            "INVALID_ARGUMENT: unknown key \"seed\"");
}

TEST(JsonLines, RefusesWrongTypesByName) {
  const ModelFolder model;
  const auto message = [&model](const std::string& field) {
    return ErrorOf(model, "{" + field + "}");
  };

  EXPECT_EQ(message("\"prompt\": 3"), "INVALID_ARGUMENT: \"prompt\": expected a string, found 3");
  EXPECT_EQ(message("\"prompt_ids\": [1, \"2\"]"),
            "INVALID_ARGUMENT: \"prompt_ids\": expected an array of token ids, found [1,\"2\"]");
  EXPECT_EQ(message("\"max_new_tokens\": 1.5"),
            "INVALID_ARGUMENT: \"max_new_tokens\": expected a 32-bit integer, found 1.5");
  EXPECT_EQ(message("\"top_k\": 2147483648"),
            "INVALID_ARGUMENT: \"top_k\": expected a 32-bit integer, found 2147483648");
  EXPECT_EQ(message("\"temperature\": null"),
            "INVALID_ARGUMENT: \"temperature\": expected a number, found null");
  EXPECT_EQ(message("\"logit_bias\": {\"5\": true}"),
            "INVALID_ARGUMENT: \"logit_bias\": expected an object of token ids and numbers, found "
            "{\"5\":true}");
  EXPECT_EQ(message("\"logit_bias\": [5, 1]"),
            "INVALID_ARGUMENT: \"logit_bias\": expected an object of token ids and numbers, found "
            "[5,1]");
  EXPECT_EQ(message("\"top_p\": 1e300"),
            "INVALID_ARGUMENT: \"top_p\": expected a number, found 1e+300");
  EXPECT_EQ(message("\"seed\": -1"),
            "INVALID_ARGUMENT: \"seed\": expected an integer of at least 0, found -1");
  EXPECT_EQ(message("\"stop\": [1]"),
            "INVALID_ARGUMENT: \"stop\": expected a string or an array of strings, found [1]");
  EXPECT_EQ(message("\"ignore_eos\": 1"),
            "INVALID_ARGUMENT: \"ignore_eos\": expected true or false, found 1");
  EXPECT_EQ(message("\"special\": \"yes\""),
            "INVALID_ARGUMENT: \"special\": expected true or false, found \"yes\"");
  EXPECT_EQ(message("\"id\": [1]"),
            "INVALID_ARGUMENT: \"id\": expected a string or a number, found array");
}

TEST(JsonLines, NeedsExactlyOnePrompt) {
  const ModelFolder model;

  EXPECT_EQ(ErrorOf(model, "{}"), "INVALID_ARGUMENT: give \"prompt\" or \"prompt_ids\"");
  EXPECT_EQ(ErrorOf(model, "{\"prompt\": \"x\", \"prompt_ids\": [1]}"),
            "INVALID_ARGUMENT: give \"prompt\" or \"prompt_ids\", not both");
}

TEST(JsonLines, PassesOnWhatTheLibraryRefuses) {
  const ModelFolder model;
  const IdsModelFolder ids_model;

  EXPECT_THAT(ErrorOf(model, "{\"prompt\": \"\"}"), StartsWith("INVALID_ARGUMENT: "));
  EXPECT_THAT(ErrorOf(model, "{\"prompt_ids\": []}"), StartsWith("INVALID_ARGUMENT: "));
  EXPECT_THAT(ErrorOf(model, "{\"prompt_ids\": [-1]}"), StartsWith("INVALID_ARGUMENT: "));
  EXPECT_THAT(ErrorOf(model, "{\"prompt\": \"x\", \"temperature\": -1}"), HasSubstr("temperature"));
  EXPECT_THAT(ErrorOf(model, "{\"prompt\": \"x\", \"max_new_tokens\": -1}"),
              HasSubstr("max_new_tokens"));
  EXPECT_THAT(ErrorOf(model, "{\"prompt\": \"" + std::string(65, 'x') + "\"}"),
              StartsWith("INVALID_ARGUMENT: "));
  EXPECT_THAT(ErrorOf(ids_model, "{\"prompt\": \"x\"}"), StartsWith("FAILED_PRECONDITION: "));
}

TEST(JsonLines, PassesOverALineThatIsTooLong) {
  const ModelFolder model;

  const std::vector<Json> lines =
      Serve(model, std::string((std::size_t{64} << 20) + 1, ' ') +
                       "\n{\"prompt\": \"x\", \"max_new_tokens\": 1}\n");

  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0]["error"]["message"].get<std::string>(), StartsWith("line longer than "));
  EXPECT_EQ(lines[1]["usage"]["completion_tokens"], 1);
}

TEST(JsonLines, ServesScores) {
  const ModelFolder model;

  const std::vector<Json> lines = Serve(model,
                                        "{\"id\": \"x\", \"prompt\": \"def f\"}\n"
                                        "{\"prompt_ids\": [257, 32, 102], \"special\": false}\n",
                                        "score");

  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(KeysOf(lines[0]), ElementsAre("id", "token_ids", "logprobs", "perplexity"));
  EXPECT_EQ(lines[0]["logprobs"], lines[1]["logprobs"]);
}

}  // namespace
}  // namespace codegen::testing
