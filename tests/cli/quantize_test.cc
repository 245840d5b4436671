// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/file.h"
#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::int64_t WeightFileBytes(const std::string& folder) {
  return static_cast<std::int64_t>(std::filesystem::file_size(folder + "/model.safetensors"));
}

TEST(Quantize, WritesFromTheCpuOnly) {
  const ModelFolder model;
  const ScratchFolder around;
  const std::string output = around.path() + "/out";

  const Outcome outcome =
      RunProgram({"quantize", "--model", model.path(), "--output", output, "--device", "cuda:1"});

  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--device: a model is written from the CPU only"));
  EXPECT_FALSE(std::filesystem::exists(output));
}

TEST(Quantize, PrintsTheObjectOthersRelyOn) {
  const ModelFolder model;
  const ScratchFolder around;
  const std::string output = around.path() + "/int4";

  const Outcome outcome = RunProgram(
      {"quantize", "--model", model.path(), "--weights", "int4", "--output", output, "--json"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json result = OutputOf(outcome);
  EXPECT_THAT(KeysOf(result), ElementsAre("output", "weights", "head_weights", "bytes_before",
                                          "bytes_after", "seconds", "fingerprint"));
  EXPECT_EQ(result["output"], output);
  EXPECT_EQ(result["weights"], "int4");
  EXPECT_EQ(result["head_weights"], "int8");
  EXPECT_EQ(result["bytes_before"], WeightFileBytes(model.path()));
  EXPECT_EQ(result["bytes_after"], WeightFileBytes(output));
  EXPECT_LT(result["bytes_after"], result["bytes_before"]);
  const Json before = OutputOf(RunProgram({"info", "--model", model.path(), "--json"}));
  EXPECT_EQ(result["fingerprint"], before["fingerprint"]);
}

TEST(Quantize, WritesAFolderThatCompletesTheSame) {
  const ModelFolder model;
  const ScratchFolder around;
  const std::string output = around.path() + "/int8";
  const Outcome wanted =
      RunProgram({"complete", "--model", model.path(), "--weights", "int8", "--prompt", "def"});

  const Outcome written =
      RunProgram({"quantize", "--model", model.path(), "--weights", "int8", "--output", output});

  EXPECT_EQ(written.exit_code, 0) << written.err;
  EXPECT_THAT(written.out, HasSubstr("weights      int8\n"));
  const Outcome got = RunProgram({"complete", "--model", output, "--prompt", "def"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(got.out, wanted.out);
  const Json info = OutputOf(RunProgram({"info", "--model", output, "--json"}));
  EXPECT_EQ(info["weights"], "int8");
}

TEST(Quantize, RoundsByATextForCalibration) {
  const ScratchFolder around;
  const std::string shipped = CODEGEN_SOURCE_DIR "/examples/models/codegen-tiny-python";
  const std::string text = CODEGEN_SOURCE_DIR "/examples/models/train.py";
  const std::vector<std::string> command = {"quantize",  "--model", shipped,
                                            "--weights", "int4",    "--output"};
  const auto quantize = [&](const std::string& output, std::vector<std::string> more) {
    more.insert(more.begin(), command.begin(), command.end());
    more.insert(more.begin() + std::ssize(command), output);
    const Outcome outcome = RunProgram(more);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return *base::ReadFile(output + "/model.safetensors", 1 << 30);
  };

  const std::string calibrated = quantize(around.path() + "/calibrated", {"--calibration", text});

  const std::string plain = quantize(around.path() + "/plain", {});
  EXPECT_EQ(calibrated.size(), plain.size());
  EXPECT_FALSE(calibrated == plain);
}

TEST(Quantize, NamesTheTextItCannotRead) {
  const ModelFolder model;
  const ScratchFolder around;
  const std::string empty = around.path() + "/empty.txt";
  std::ofstream(empty).close();
  for (const std::string& text : {empty, around.path() + "/missing.txt"}) {
    const Outcome outcome = RunProgram({"quantize", "--model", model.path(), "--weights", "int4",
                                        "--calibration", text, "--output", around.path() + "/x"});

    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, HasSubstr(text));
    EXPECT_FALSE(std::filesystem::exists(around.path() + "/x"));
  }
}

TEST(Quantize, SaysWhatCalibrationIsFor) {
  const ModelFolder model;
  const ScratchFolder around;

  const Outcome outcome = RunProgram(
      {"quantize", "--model", model.path(), "--weights", "int8", "--calibration",
       CODEGEN_SOURCE_DIR "/examples/models/train.py", "--output", around.path() + "/x"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("INVALID_ARGUMENT: LoadOptions::calibration"));
}

TEST(Quantize, WritesOverNothing) {
  const ModelFolder model;

  const Outcome outcome = RunProgram(
      {"quantize", "--model", model.path(), "--weights", "int8", "--output", model.path()});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: FAILED_PRECONDITION: "));
}

TEST(Quantize, NeedsAnOutput) {
  const ModelFolder model;

  const Outcome outcome = RunProgram({"quantize", "--model", model.path()});

  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--output DIR"));
}

TEST(Quantize, RefusesWhatItCannotRead) {
  const ScratchFolder empty;

  const Outcome outcome = RunProgram(
      {"quantize", "--model", empty.path(), "--weights", "int8", "--output", empty.path() + "/x"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: NOT_FOUND: "));
  EXPECT_FALSE(std::filesystem::exists(empty.path() + "/x"));
}

}  // namespace
}  // namespace codegen::testing
