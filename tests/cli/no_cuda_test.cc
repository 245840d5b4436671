// SPDX-License-Identifier: Apache-2.0
//
// --device cuda where the library is built without CUDA.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

void ExpectNoCuda(Arguments arguments, const char* value, const std::string& name) {
  arguments.insert(arguments.end(), {"--device", value});
  const Outcome outcome = RunProgram(arguments);

  EXPECT_EQ(outcome.exit_code, 1) << arguments.front();
  EXPECT_EQ(outcome.out, "") << arguments.front();
  EXPECT_EQ(outcome.err,
            fmt::format("codegen: FAILED_PRECONDITION: LoadOptions::device is {}, but this build "
                        "of codegen has no CUDA backend; configure one with -DCODEGEN_CUDA=ON\n",
                        name))
      << arguments.front();
}

TEST(NoCuda, IsSaidByEveryCommandThatComputes) {
  const ModelFolder model;

  ExpectNoCuda({"complete", "--model", model.path(), "--prompt", "def"}, "cuda", "cuda:0");
  ExpectNoCuda({"score", "--model", model.path(), "--prompt", "def"}, "cuda", "cuda:0");
  ExpectNoCuda({"info", "--model", model.path()}, "cuda", "cuda:0");
  ExpectNoCuda({"bench", "--model", model.path()}, "cuda", "cuda:0");
  ExpectNoCuda({"bench", "--load", "--model", model.path()}, "cuda", "cuda:0");
}

TEST(NoCuda, IsSaidOfTheDeviceThatWasNamed) {
  const ModelFolder model;
  const Arguments complete = {"complete", "--model", model.path(), "--prompt", "def"};

  ExpectNoCuda(complete, "cuda:0", "cuda:0");
  ExpectNoCuda(complete, "cuda:3", "cuda:3");
  ExpectNoCuda(complete, "cuda:2147483647", "cuda:2147483647");
}

TEST(NoCuda, IsSaidWithTheOtherFlagsOfAGpu) {
  const ModelFolder model;

  ExpectNoCuda({"complete", "--model", model.path(), "--prompt", "def", "--device-memory",
                "8000000000", "--deterministic"},
               "cuda", "cuda:0");
}

TEST(NoCuda, ConcernsNoTokenizer) {
  const TokenizerFolder folder;

  EXPECT_EQ(RunProgram({"tokenize", "--model", folder.path(), "--prompt", "x", "--device", "cuda"})
                .exit_code,
            0);
}

}  // namespace
}  // namespace codegen::testing
