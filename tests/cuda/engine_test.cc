// SPDX-License-Identifier: Apache-2.0
//
// The library as a host uses it, with models on the emulated GPU beside the same ones on the CPU.
// What requests do to each other there is in api/neighbours_test.cc, of which this program has a
// copy of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "codegen/batcher.h"
#include "codegen/benchmark.h"
#include "codegen/model.h"
#include "codegen/session.h"
#include "support/simt/runtime/control.h"
#include "support/sine_folder.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen {
namespace {

using testing::IsOk;
using testing::StatusIs;

class CudaEngine : public ::testing::Test {
 protected:
  void SetUp() override { simt::Reset({.devices = 2}); }
  void TearDown() override {
    EXPECT_EQ(simt::Count().live_allocations, 0);
    EXPECT_EQ(simt::Count().live_streams, 0);
    EXPECT_EQ(simt::Count().live_graphs, 0);
  }
};

std::vector<TokenId> Text() {
  std::vector<TokenId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back((i * i + 3 * i) % 13);
  return ids;
}

TEST_F(CudaEngine, ScoresLikeTheCpu) {
  for (const auto& config : {testing::TinyCodeGen(4), testing::TinyLlama()}) {
    for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kInt8}) {
      const testing::TempFolder folder;
      testing::WriteSineFolder(folder, config);
      const auto score = [&](const LoadOptions& options) {
        const absl::StatusOr<Model> model = Model::Load(folder.path(), options);
        EXPECT_THAT(model, IsOk());
        return Session::Create(*model)->ScoreTokens(Text());
      };
      const auto cpu =
          score({.weights = format, .precision = ComputePrecision::kExact, .threads = 1});
      const auto cuda = score({.device = Device::Cuda(0), .weights = format, .threads = 1});
      ASSERT_THAT(cpu, IsOk());
      ASSERT_THAT(cuda, IsOk());
      ASSERT_EQ(cuda->logprobs.size(), cpu->logprobs.size());
      double squares = 0;
      for (std::size_t i = 0; i < cpu->logprobs.size(); ++i) {
        const double difference = double{cuda->logprobs[i]} - cpu->logprobs[i];
        squares += difference * difference;
      }
      EXPECT_LT(std::sqrt(squares / static_cast<double>(cpu->logprobs.size())), 0.03);
    }
  }
}

TEST_F(CudaEngine, CompletesOnTheDeviceAskedFor) {
  const testing::TempFolder folder;
  testing::WriteSineFolder(folder);
  const absl::StatusOr<Model> model =
      Model::Load(folder.path(), {.device = Device::Cuda(1), .threads = 1});
  ASSERT_THAT(model, IsOk());
  EXPECT_EQ(model->info().device, Device::Cuda(1));
  const absl::StatusOr<std::unique_ptr<Batcher>> batcher = Batcher::Create(*model, {});
  ASSERT_THAT(batcher, IsOk());
  std::vector<Handle> handles;
  for (int i = 0; i < 5; ++i) {
    auto handle = (*batcher)->Submit(
        {.prompt_ids = {i, 2, 3}, .max_new_tokens = 8, .stop = {.ignore_eos = true}});
    ASSERT_THAT(handle, IsOk());
    handles.push_back(*std::move(handle));
  }
  for (Handle& handle : handles) {
    EXPECT_THAT(handle.Wait().status, IsOk());
    EXPECT_EQ(handle.Wait().token_ids.size(), 8U);
  }
}

TEST_F(CudaEngine, SaysThatThereIsNoSuchDevice) {
  const testing::TempFolder folder;
  testing::WriteSineFolder(folder);
  const auto load = [&](int index) {
    return Model::Load(folder.path(), {.device = Device::Cuda(index), .threads = 1}).status();
  };
  EXPECT_THAT(load(2), StatusIs(absl::StatusCode::kFailedPrecondition));
  for (const simt::Driver driver :
       {simt::Driver::kMissing, simt::Driver::kNoDevice, simt::Driver::kTooOld}) {
    simt::Reset({.driver = driver});
    EXPECT_THAT(load(0), StatusIs(absl::StatusCode::kFailedPrecondition));
  }
}

TEST_F(CudaEngine, R04MemoryThatTheDeviceLacksIsSaidAtLoadAndAtCreate) {
  const testing::TempFolder folder;
  testing::WriteSineFolder(folder);
  const auto load = [&](std::int64_t memory) {
    return Model::Load(folder.path(),
                       {.device = Device::Cuda(0), .device_memory = memory, .threads = 1});
  };
  EXPECT_THAT(load(1000).status(), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(load(std::int64_t{1} << 50).status(), StatusIs(absl::StatusCode::kInvalidArgument));

  const absl::StatusOr<Model> model = load(std::int64_t{40} << 20);
  ASSERT_THAT(model, IsOk());
  EXPECT_THAT(Batcher::Create(*model, {.kv_bytes = std::int64_t{60} << 20}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Session::Create(*model), IsOk());
}

TEST_F(CudaEngine, R07ALostDeviceEndsItsEngineAndNothingElse) {
  const testing::TempFolder folder;
  testing::WriteSineFolder(folder);
  const Request request{.prompt_ids = {1, 2, 3}, .max_new_tokens = 8, .stop = {.ignore_eos = true}};
  {
    const absl::StatusOr<Model> model =
        Model::Load(folder.path(), {.device = Device::Cuda(0), .threads = 1});
    ASSERT_THAT(model, IsOk());
    const absl::StatusOr<std::unique_ptr<Batcher>> batcher = Batcher::Create(*model, {});
    ASSERT_THAT(batcher, IsOk());
    simt::Inject({.call = simt::Call::kSynchronize,
                  .nth = 4,
                  .error = cudaErrorIllegalAddress,
                  .lasting = simt::Lasting::kSticky});
    absl::StatusOr<Handle> handle = (*batcher)->Submit(request);
    ASSERT_THAT(handle, IsOk());
    EXPECT_THAT(handle->Wait().status, StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_EQ((*batcher)->health().state, Health::State::kFailed);
    EXPECT_FALSE((*batcher)->health().recreate);
    EXPECT_THAT((*batcher)->Submit(request).status(),
                StatusIs(absl::StatusCode::kFailedPrecondition));
  }
  const absl::StatusOr<Model> on_cpu = Model::Load(folder.path(), {.threads = 1});
  ASSERT_THAT(on_cpu, IsOk());
  EXPECT_THAT(Session::Create(*on_cpu)->Complete(request), IsOk());
  simt::Reset();
}

// A host can tell a machine whose prompts are slow for want of a library from one that has it.
TEST_F(CudaEngine, SaysWhatComputesProductsOfManyRows) {
  const testing::TempFolder folder;
  testing::WriteSineFolder(folder);
  const auto library = [&](simt::Library blas, bool deterministic) {
    simt::Reset({.blas = blas});
    const absl::StatusOr<Model> model =
        Model::Load(folder.path(), {.device = Device::Cuda(0),
                                    .device_memory = std::int64_t{40} << 20,
                                    .deterministic = deterministic,
                                    .threads = 1});
    EXPECT_THAT(model, IsOk());
    EXPECT_THAT(Session::Create(*model)->ScoreTokens(Text()), IsOk());
    return model->info().gpu_library;
  };
  EXPECT_EQ(library(simt::Library::kPresent, false), "cuBLASLt 13.1.0");
  EXPECT_EQ(library(simt::Library::kPresent, true), "none: deterministic");
  EXPECT_EQ(library(simt::Library::kUnusable, false),
            "none: starting cuBLASLt: CUBLAS_STATUS_NOT_INITIALIZED");
  EXPECT_EQ(library(simt::Library::kMissing, false),
            "none: cuBLAS cannot be opened: there is none");

  const absl::StatusOr<Model> on_cpu = Model::Load(folder.path(), {.threads = 1});
  ASSERT_THAT(on_cpu, IsOk());
  EXPECT_EQ(on_cpu->info().gpu_library, "");
}

// Runs one step of 80 sequences.
void RunAStep(const Model& model) {
  const absl::StatusOr<std::unique_ptr<Batcher>> batcher = Batcher::Create(
      model,
      {.max_batch = 80,
       .kv_bytes = 80 * 64 * model.info().kv_bytes_per_token,
       .policy = {
           .mode = BatchMode::kStatic, .window = std::chrono::seconds(5), .preferred = {80}}});
  ASSERT_THAT(batcher, IsOk());
  std::vector<Handle> handles;
  for (int i = 0; i < 80; ++i) {
    auto handle = (*batcher)->Submit(
        {.prompt_ids = {i % 13}, .max_new_tokens = 1, .stop = {.ignore_eos = true}});
    ASSERT_THAT(handle, IsOk());
    handles.push_back(*std::move(handle));
  }
  for (Handle& handle : handles) EXPECT_THAT(handle.Wait().status, IsOk());
}

// Tuning knows all products of a model: none of a step is done as guessed. The pretended cuBLASLt
// thinks algorithm 0 best, and 1 is the fastest.
TEST_F(CudaEngine, ComputesStepsByWhatWasTunedAtLoad) {
  for (model::ModelConfig config : {testing::TinyCodeGen(4), testing::TinyLlama()}) {
    config.vocabulary = 16;  // of 13 cuBLASLt computes no logits
    const testing::TempFolder folder;
    testing::WriteSineFolder(folder, config);
    // How often algorithms 0 and 1 ran in the step, and any while the model was loaded.
    const auto run = [&](const TuningOptions& tuning) {
      simt::Reset();
      const absl::StatusOr<Model> model =
          Model::Load(folder.path(), {.device = Device::Cuda(0), .tuning = tuning, .threads = 1});
      EXPECT_THAT(model, IsOk());
      const auto loaded = simt::Count().products_by_algorithm;
      RunAStep(*model);
      const auto all = simt::Count().products_by_algorithm;
      return std::tuple(all[0] - loaded[0], all[1] - loaded[1], loaded[0] + loaded[1] + loaded[2],
                        model->info().gpu_library);
    };
    const TuningOptions tuning{.rows = 96, .file = folder.Path("tuning.json")};
    constexpr std::int64_t kProducts = 2 * 4 + 1;  // two blocks, and the logits

    EXPECT_EQ(run({}), std::tuple(kProducts, 0, 0, "cuBLASLt 13.1.0"));
    for (const bool first : {true, false}) {
      const auto [guessed, fastest, timed, library] = run(tuning);
      EXPECT_EQ(guessed, 0);
      EXPECT_EQ(fastest, kProducts);
      EXPECT_EQ(timed > 0, first);
      EXPECT_EQ(library, "cuBLASLt 13.1.0, 10 products tuned") << "five, of up to 80 and 96 rows";
    }
  }
}

TEST_F(CudaEngine, LoadsUntunedWhereTuningFails) {
  const testing::TempFolder folder;
  testing::WriteSineFolder(folder);
  const auto load = [&](const TuningOptions& tuning) {
    return Model::Load(folder.path(), {.device = Device::Cuda(0),
                                       .device_memory = std::int64_t{20} << 20,
                                       .tuning = tuning,
                                       .threads = 1});
  };

  const absl::StatusOr<Model> model = load({.rows = 96});

  ASSERT_THAT(model, IsOk());
  EXPECT_THAT(model->info().gpu_library, ::testing::StartsWith("cuBLASLt 13.1.0, not tuned: "));
  const std::string notes = folder.Write("notes.txt", "not to be lost");
  EXPECT_THAT(load({.rows = 96, .file = notes}).status(),
              StatusIs(absl::StatusCode::kDataLoss, "LoadOptions::tuning.file: notes.txt"));
  EXPECT_EQ(std::filesystem::file_size(notes), 14U);
}

TEST_F(CudaEngine, IsBenchmarkedAsADevice) {
  const testing::TempFolder folder;
  testing::WriteSineFolder(folder);
  const absl::StatusOr<Model> model = Model::Load(
      folder.path(),
      {.device = Device::Cuda(0), .device_memory = std::int64_t{45} << 20, .threads = 1});
  ASSERT_THAT(model, IsOk());
  const auto result =
      RunBenchmark(*model, {.prompt_tokens = {16}, .new_tokens = 2, .batch = {1, 2}});
  ASSERT_THAT(result, IsOk());
  EXPECT_GT(result->machine.read_gb_s, 0);
  EXPECT_GT(result->machine.bf16_gflops, 0);
  EXPECT_EQ(result->peak, "bf16");
}

}  // namespace
}  // namespace codegen
