// SPDX-License-Identifier: Apache-2.0
//
// A build without CUDA says so, and goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "api/tiny_models.h"
#include "codegen/model.h"
#include "codegen/session.h"
#include "support/sine_folder.h"
#include "support/status_is.h"

namespace codegen {
namespace {

using testing::IsOk;
using testing::Keep;
using testing::StatusIs;
using testing::TempFolder;
using testing::WriteSineFolder;
using enum absl::StatusCode;

constexpr char kNoBackend[] =
    ", but this build of codegen has no CUDA backend; configure one with -DCODEGEN_CUDA=ON";

TEST(NoCuda, IsSaidWithTheNameOfTheDevice) {
  TempFolder folder;
  WriteSineFolder(folder);

  EXPECT_THAT(
      Model::Load(folder.path(), {.device = Device::Cuda()}),
      StatusIs(kFailedPrecondition, std::string("LoadOptions::device is cuda:0") + kNoBackend));
  EXPECT_THAT(
      Model::Load(folder.path(), {.device = Device::Cuda(7)}),
      StatusIs(kFailedPrecondition, std::string("LoadOptions::device is cuda:7") + kNoBackend));
  EXPECT_THAT(Model::Random(folder.Path("config.json"), {.device = Device::Cuda()}),
              StatusIs(kFailedPrecondition, kNoBackend));
}

TEST(NoCuda, IsSaidWhateverElseAGpuMayBeAskedFor) {
  TempFolder folder;
  WriteSineFolder(folder);

  for (const LoadOptions& options :
       {LoadOptions{.device = Device::Cuda(), .device_memory = std::int64_t{8} << 30},
        LoadOptions{.device = Device::Cuda(), .deterministic = true},
        LoadOptions{.device = Device::Cuda(), .weights = WeightFormat::kInt4},
        LoadOptions{.device = Device::Cuda(), .kv_cache = KvFormat::kBf16}}) {
    EXPECT_THAT(Model::Load(folder.path(), options), StatusIs(kFailedPrecondition, kNoBackend));
  }
}

TEST(NoCuda, IsSaidBeforeAnyWeightIsRead) {
  TempFolder folder;
  WriteSineFolder(folder);
  std::vector<LoadProgress> reports;

  const auto model =
      Model::Load(folder.path(), {.device = Device::Cuda(), .progress = Keep(reports)});

  EXPECT_THAT(model, StatusIs(kFailedPrecondition));
  EXPECT_TRUE(reports.empty());
}

// The memory of this machine does not decide what a GPU can hold.
TEST(NoCuda, IsSaidOfAModelThatThisMachineCannotHold) {
  TempFolder folder;
  folder.Write("config.json",
               R"({"model_type": "codegen", "vocab_size": 51200, "n_positions": 2048,
                   "n_embd": 1048576, "n_layer": 1000, "n_head": 4096, "rotary_dim": 64})");

  EXPECT_THAT(Model::Random(folder.Path("config.json"), {.device = Device::Cuda()}),
              StatusIs(kFailedPrecondition, kNoBackend));
}

TEST(NoCuda, LeavesTheCpuAsItWas) {
  TempFolder folder;
  WriteSineFolder(folder);
  ASSERT_THAT(Model::Load(folder.path(), {.device = Device::Cuda()}),
              StatusIs(kFailedPrecondition));

  const auto model = Model::Load(folder.path(), {.threads = 1});

  ASSERT_THAT(model, IsOk());
  EXPECT_THAT(Session::Create(*model)->Complete({.prompt_ids = {1, 2}, .max_new_tokens = 3}),
              IsOk());
}

}  // namespace
}  // namespace codegen
