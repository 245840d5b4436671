// SPDX-License-Identifier: Apache-2.0
//
// bench --load: many clients on one batcher.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kTinyPythonFolder = CODEGEN_SOURCE_DIR "/examples/models/codegen-tiny-python";

// Runs on random weights of the tiny shape.
Outcome LoadTiny(const Arguments& more) {
  const ScratchFolder folder;
  Arguments arguments = {
      "bench",           "--load", "--dummy-weights",  folder.Write("config.json", kTinyConfig),
      "--prompt-tokens", "8",      "--max-new-tokens", "6"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return RunProgram(arguments);
}

Json LoadPoints(const Arguments& more) {
  Arguments arguments = more;
  arguments.emplace_back("--json");
  const Outcome outcome = LoadTiny(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const Json result = OutputOf(outcome);
  return result.value("points", Json::array());
}

void ExpectOrdered(const Json& quantiles) {
  EXPECT_THAT(KeysOf(quantiles), ElementsAre("p50", "p95", "p99"));
  EXPECT_GE(quantiles["p50"], 0);
  EXPECT_LE(quantiles["p50"], quantiles["p95"]);
  EXPECT_LE(quantiles["p95"], quantiles["p99"]);
}

TEST(BenchLoad, PrintsTheObjectOthersRelyOn) {
  const Outcome outcome = LoadTiny({"--clients", "1,3", "--requests", "12", "--json"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json result = OutputOf(outcome);
  EXPECT_THAT(KeysOf(result),
              ElementsAre("device", "gpu_library", "weights", "weight_bytes", "kv_cache",
                          "precision", "isa", "mode", "max_batch", "points"));
  EXPECT_EQ(result["device"], "cpu");
  EXPECT_EQ(result["weights"], "bf16");
  EXPECT_EQ(result["mode"], "continuous");
  EXPECT_EQ(result["max_batch"], 64);
  ASSERT_EQ(result["points"].size(), 2U);
  EXPECT_THAT(KeysOf(result["points"][0]),
              ElementsAre("clients", "requests", "tokens", "seconds", "tok_s", "requests_per_min",
                          "ttft_s", "inter_token_s", "end_to_end_s", "goodput", "batch_size",
                          "kv_usage", "preemptions", "prefix_hit_rate"));
}

TEST(BenchLoad, CountsAddUp) {
  const Json points = LoadPoints({"--clients", "1,3", "--requests", "12"});

  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[0]["clients"], 1);
  EXPECT_EQ(points[1]["clients"], 3);
  for (const Json& point : points) {
    const double seconds = point["seconds"];
    EXPECT_EQ(point["requests"], 12);
    EXPECT_EQ(point["tokens"], 12 * 6);
    EXPECT_GT(seconds, 0);
    EXPECT_NEAR(point["tok_s"], 72 / seconds, 1e-6 * 72 / seconds);
    EXPECT_NEAR(point["requests_per_min"], 720 / seconds, 1e-6 * 720 / seconds);
    EXPECT_EQ(point["goodput"], 1.0);
    EXPECT_EQ(point["preemptions"], 0);
    EXPECT_LE(point["kv_usage"], 1);
    for (const char* times : {"ttft_s", "inter_token_s", "end_to_end_s"})
      ExpectOrdered(point[times]);
    EXPECT_GT(point["ttft_s"]["p50"], 0);
    EXPECT_LE(point["ttft_s"]["p99"], point["end_to_end_s"]["p99"]);
    EXPECT_LE(point["end_to_end_s"]["p99"], seconds * (1 + 1e-9));
  }
  EXPECT_NEAR(points[0]["batch_size"], 1, 1e-9);
  EXPECT_GT(points[1]["batch_size"], 1);
  EXPECT_LE(points[1]["batch_size"], 3);
}

// One client's two requests: the median is the faster one, and both fit into the whole time.
TEST(BenchLoad, TakesPercentilesFromTheRequestsThemselves) {
  const Json points = LoadPoints({"--clients", "1", "--requests", "2"});

  ASSERT_EQ(points.size(), 1U);
  const double faster = points[0]["end_to_end_s"]["p50"];
  const double slower = points[0]["end_to_end_s"]["p95"];
  EXPECT_LT(faster, slower);
  EXPECT_EQ(points[0]["end_to_end_s"]["p99"], slower);
  EXPECT_LE(faster + slower, points[0]["seconds"].get<double>() * (1 + 1e-9));
}

TEST(BenchLoad, RunsAnOpenLoop) {
  const Json points = LoadPoints({"--rate", "200,1000", "--requests", "20"});

  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[0]["rate"], 200);
  EXPECT_FALSE(points[0].contains("clients"));
  EXPECT_EQ(points[0]["requests"], 20);
  EXPECT_EQ(points[0]["tokens"], 20 * 6);
  EXPECT_GT(points[0]["seconds"], 0.01);  // 19 pauses of 5 ms on average
}

TEST(BenchLoad, RunsForAWhile) {
  const Json points = LoadPoints({"--clients", "2", "--duration", "0.2"});

  ASSERT_EQ(points.size(), 1U);
  EXPECT_GE(points[0]["seconds"], 0.19);  // the first request began a little later
  EXPECT_GT(points[0]["requests"], 2);
  EXPECT_EQ(points[0]["tokens"], 6 * points[0]["requests"].get<int>());
}

TEST(BenchLoad, DrawsMixedLengthsFromTheSeed) {
  const auto tokens = [](const char* seed) {
    return LoadPoints({"--mixed", "--requests", "16", "--clients", "1,4", "--seed", seed});
  };

  const Json points = tokens("3");

  ASSERT_EQ(points.size(), 2U);
  EXPECT_NE(points[0]["tokens"], 16 * 6);
  EXPECT_EQ(points[0]["tokens"], points[1]["tokens"]);  // every point has the same requests
  EXPECT_EQ(points[0]["tokens"], tokens("3")[0]["tokens"]);
  EXPECT_NE(points[0]["tokens"], tokens("4")[0]["tokens"]);
}

// Of mixed lengths the longest of a static batch runs alone in the end. All requests come at once,
// so that no batch is small for want of them.
TEST(BenchLoad, RunsStaticBatchesToTheirEnd) {
  const auto load = [](const char* batch) {
    const Outcome outcome =
        RunProgram({"bench", "--load", "--model", kTinyPythonFolder, "--prompt-tokens", "16",
                    "--max-new-tokens", "32", "--mixed", "--rate", "1000000", "--requests", "24",
                    batch, "4", "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return OutputOf(outcome);
  };

  const Json fixed = load("--static-batches");
  const Json continuous = load("--max-batch");

  EXPECT_EQ(fixed["mode"], "static");
  EXPECT_EQ(fixed["max_batch"], 4);
  EXPECT_EQ(fixed["points"][0]["tokens"], continuous["points"][0]["tokens"]);
  EXPECT_LT(fixed["points"][0]["batch_size"], continuous["points"][0]["batch_size"]);
}

// 20 requests at once, which take far more than the deadline together.
TEST(BenchLoad, CountsWhatIsLateAgainstTheGoodput) {
  const Outcome outcome = RunProgram({"bench", "--load", "--model", kTinyPythonFolder, "--rate",
                                      "100000", "--requests", "20", "--prompt-tokens", "100",
                                      "--max-new-tokens", "300", "--deadline-ms", "20", "--json"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json point = OutputOf(outcome)["points"][0];
  EXPECT_EQ(point["requests"], 20);
  EXPECT_LT(point["goodput"], 0.5);
  EXPECT_LT(point["tokens"], 20 * 300);
}

TEST(BenchLoad, TakesPromptsFromAFile) {
  const ModelFolder model;
  const std::string file = model.Write("prompts.jsonl",
                                       "{\"prompt\": \"def f(x): return x and more\"}\n"
                                       "{\"task\": 1, \"prompt\": \"def g\"}\n");

  const Outcome outcome =
      RunProgram({"bench", "--load", "--model", model.path(), "--prompts", file, "--clients", "1",
                  "--requests", "6", "--max-new-tokens", "4", "--json"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json point = OutputOf(outcome)["points"][0];
  EXPECT_EQ(point["tokens"], 24);
  EXPECT_GT(point["prefix_hit_rate"], 0);  // each of them is asked three times
}

TEST(BenchLoad, RefusesPromptsThatAreNone) {
  const ModelFolder model;
  const IdsModelFolder ids_model;
  const std::string good = model.Write("good.jsonl", "{\"prompt\": \"def\"}\n");
  const std::string bad = model.Write("bad.jsonl", "{\"prompt\": \"x\"}\n{\"prompts\": []}\n");
  const std::string empty = model.Write("empty.jsonl", "");
  const auto error = [](const ScratchFolder& folder, const std::string& file) {
    return RunProgram({"bench", "--load", "--model", folder.path(), "--prompts", file,
                       "--max-new-tokens", "4"})
        .err;
  };

  EXPECT_THAT(error(model, bad), HasSubstr("bad.jsonl, line 2: expected an object with a"));
  EXPECT_THAT(error(model, empty), HasSubstr("INVALID_ARGUMENT: "));
  EXPECT_THAT(error(model, "no-such-file"), HasSubstr("NOT_FOUND: "));
  EXPECT_THAT(error(ids_model, good), HasSubstr("FAILED_PRECONDITION: --prompts: "));
}

TEST(BenchLoad, RefusesRequestsBeyondTheContext) {
  const Outcome outcome = LoadTiny({"--max-new-tokens", "57"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: INVALID_ARGUMENT: a prompt of 8 tokens and "
                                      "--max-new-tokens 57: the context holds 64"));
}

TEST(BenchLoad, PrintsATable) {
  const Outcome outcome = LoadTiny({"--clients", "1,2", "--requests", "4"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");  // no progress without a terminal
  EXPECT_THAT(outcome.out, StartsWith("codegen1, "));
  EXPECT_THAT(outcome.out, HasSubstr("\n clients requests "));
  EXPECT_THAT(outcome.out, HasSubstr("\n       1        4 "));
  EXPECT_THAT(outcome.out, HasSubstr("\n       2        4 "));
}

// Whether every element is closed in its order: enough to be well-formed for what has no comments,
// entities or quoted angle brackets.
bool IsWellFormed(const std::string& xml) {
  std::vector<std::string> open;
  std::size_t end = 0;
  for (std::size_t begin = xml.find('<'); begin != std::string::npos; begin = xml.find('<', end)) {
    end = xml.find('>', begin);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(begin + 1, end - begin - 1);
    if (tag.find('<') != std::string::npos) return false;
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return false;
    if (name.starts_with('/')) {
      if (open.empty() || open.back() != name.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with('/')) {
      open.push_back(name);
    }
  }
  return open.empty() && xml.starts_with("<svg ") && xml.ends_with("</svg>\n");
}

std::string PlotOf(const Arguments& more) {
  const ScratchFolder folder;
  const std::string file = folder.path() + "/load.svg";
  Arguments arguments = {"--plot", file};
  arguments.insert(arguments.end(), more.begin(), more.end());
  EXPECT_EQ(LoadTiny(arguments).exit_code, 0);
  std::ostringstream svg;
  svg << std::ifstream(file).rdbuf();
  return svg.str();
}

TEST(BenchLoad, DrawsAFigure) {
  const std::string svg = PlotOf({"--clients", "1,2,4", "--requests", "8"});

  EXPECT_TRUE(IsWellFormed(svg)) << svg;
  for (const char* text : {">Throughput<", ">tokens per second<", ">Latency<", ">milliseconds<",
                           ">clients<", ">first token, p95<", ">between tokens, p50<", ">4<"})
    EXPECT_THAT(svg, HasSubstr(text));
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(BenchLoad, DrawsAFigureOfOnePoint) {
  const std::string svg = PlotOf({"--rate", "500", "--requests", "2"});

  EXPECT_TRUE(IsWellFormed(svg)) << svg;
  EXPECT_THAT(svg, HasSubstr(">requests per second<"));
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(BenchLoad, SaysWhyThereIsNoFigure) {
  const Outcome outcome =
      LoadTiny({"--requests", "1", "--clients", "1", "--plot", "/no/such/folder/load.svg"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: NOT_FOUND: /no/such/folder/load.svg"));
}

}  // namespace
}  // namespace codegen::testing
