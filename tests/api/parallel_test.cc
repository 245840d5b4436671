// SPDX-License-Identifier: Apache-2.0
//
// One model in several parts, as hosts use it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "api/tiny_models.h"
#include "codegen/batcher.h"
#include "codegen/benchmark.h"
#include "codegen/model.h"
#include "codegen/session.h"
#include "codegen/thread_pool.h"
#include "support/shared_files.h"
#include "support/sine_folder.h"
#include "support/status_is.h"

namespace codegen {
namespace {

using testing::IsOk;
using testing::Keep;
using testing::StatusIs;
using testing::TempFolder;
using testing::TinyCodeGen;
using testing::TinyLlama;
using testing::WriteSineFolder;
using enum absl::StatusCode;

Model LoadTiny(const model::ModelConfig& config, const LoadOptions& options) {
  const TempFolder folder;
  WriteSineFolder(folder, config);
  absl::StatusOr<Model> loaded = Model::Load(folder.path(), options);
  EXPECT_THAT(loaded, IsOk());
  return *std::move(loaded);
}

std::vector<TokenId> GreedyTokens(const Model& model) {
  return Session::Create(model)
      ->Complete({.prompt_ids = {3, 1, 4}, .max_new_tokens = 30, .stop = {.ignore_eos = true}})
      ->token_ids;
}

TEST(Parallel, GivesTheTokensOfTheWholeInFloat32) {
  for (const auto& config : {TinyCodeGen(4), TinyCodeGen(8), TinyLlama()}) {
    const Model whole = LoadTiny(config, {.threads = 1});
    for (const int parts : {2, 4, 8}) {
      const int threads = parts == 4 ? 1 : parts;  // of fewer than parts, one each all the same
      const Model split = LoadTiny(config, {.threads = threads, .parallel = {.tensor = parts}});

      EXPECT_EQ(GreedyTokens(split), GreedyTokens(whole));
      EXPECT_EQ(split.info().fingerprint, whole.info().fingerprint);
      EXPECT_EQ(split.info().weight_bytes, whole.info().weight_bytes);
    }
  }
}

TEST(Parallel, WritesTheTextOfTheShippedModelInEveryFormat) {
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kInt4}) {
    const auto split = Model::Load(testing::ShippedModel(),
                                   {.weights = format, .threads = 2, .parallel = {.tensor = 2}});
    ASSERT_THAT(split, IsOk());
    const auto whole = Model::Load(testing::ShippedModel(), {.weights = format, .threads = 2});
    const std::string text = "def fib(n):\n    if n < 2:\n        return n\n    return fib(n - 1)";

    const double a = Session::Create(*split)->ScoreText(text)->perplexity;
    const double b = Session::Create(*whole)->ScoreText(text)->perplexity;

    EXPECT_NEAR(a / b, 1, format == WeightFormat::kInt4 ? 0.1 : 0.02) << WeightFormatName(format);
  }
}

TEST(Parallel, ServesABatcherAndSessionsAtTheSameTime) {
  const auto model =
      Model::Load(testing::ShippedModel(), {.threads = 2, .parallel = {.tensor = 2}});
  ASSERT_THAT(model, IsOk());
  const Request request{.prompt = "def add(a, b):\n", .max_new_tokens = 12};
  const std::string alone = Session::Create(*model)->Complete(request)->text;
  const auto batcher = Batcher::Create(*model);
  ASSERT_THAT(batcher, IsOk());

  std::vector<std::thread> hosts;
  for (int i = 0; i < 3; ++i) {
    hosts.emplace_back([&] {
      for (int k = 0; k < 4; ++k) EXPECT_EQ((*batcher)->Submit(request)->Wait().text, alone);
    });
    hosts.emplace_back([&] { EXPECT_EQ(Session::Create(*model)->Complete(request)->text, alone); });
  }
  for (std::thread& host : hosts) host.join();
}

TEST(Parallel, TellsTheHostOfItsProgressOnTheHostsThread) {
  std::vector<LoadProgress> reports;
  const std::thread::id host = std::this_thread::get_id();
  LoadOptions options{.threads = 2, .parallel = {.tensor = 2}};
  options.progress = [&](const LoadProgress& progress) {
    EXPECT_EQ(std::this_thread::get_id(), host);
    return Keep(reports)(progress);
  };

  LoadTiny(TinyLlama(), options);

  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports.back().bytes_done, reports.back().bytes_total);
}

TEST(Parallel, StopsLoadingWhenTheHostSaysSo) {
  const TempFolder folder;
  WriteSineFolder(folder, TinyLlama());
  LoadOptions options{.threads = 2, .parallel = {.tensor = 2}};
  options.progress = [](const LoadProgress&) { return Next::kCancel; };

  EXPECT_THAT(Model::Load(folder.path(), options), StatusIs(kCancelled, "progress"));
}

TEST(Parallel, IsMeasuredWithAllThreads) {
  const Model model = LoadTiny(TinyCodeGen(4), {.threads = 2, .parallel = {.tensor = 2}});

  const auto result = RunBenchmark(model, {.prompt_tokens = {8}, .new_tokens = 4, .batch = {1, 2}});

  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->machine.threads, 2);
}

TEST(Parallel, RefusesWhatItCannotSplit) {
  const TempFolder folder;
  WriteSineFolder(folder, TinyLlama());
  const auto load = [&folder](const LoadOptions& options) {
    return Model::Load(folder.path(), options).status();
  };

  EXPECT_THAT(load({.parallel = {.tensor = 0}}),
              StatusIs(kInvalidArgument, "parallel.tensor is 0, allowed 1 to"));
  EXPECT_THAT(load({.parallel = {.tensor = 3}}),
              StatusIs(kInvalidArgument,
                       "must divide the 8 heads and the 96 inner "
                       "features of a block: 1, 2, 4, 8"));
  EXPECT_THAT(load({.device = Device::Cuda(0), .parallel = {.tensor = 2}}),
              StatusIs(kUnimplemented, "must be 1 on cuda:0"));
  EXPECT_THAT(load({.parallel = {.tensor = 2}, .thread_pool = *ThreadPool::Create({.threads = 1})}),
              StatusIs(kInvalidArgument, "thread_pool"));
  EXPECT_THAT(load({.weights = WeightFormat::kInt4, .parallel = {.tensor = 2}, .calibration = "x"}),
              StatusIs(kUnimplemented, "calibration"));
}

TEST(Parallel, CanNeitherBeSavedNorReadWhatWasSaved) {
  const TempFolder saved;
  const Model split = LoadTiny(TinyLlama(), {.threads = 2, .parallel = {.tensor = 2}});
  EXPECT_THAT(split.Save(saved.path()), StatusIs(kUnimplemented, "shards"));
  ASSERT_THAT(LoadTiny(TinyLlama(), {.threads = 1}).Save(saved.path()), IsOk());

  EXPECT_THAT(Model::Load(saved.path(), {.parallel = {.tensor = 2}}),
              StatusIs(kUnimplemented, "must be 1 for a saved model"));
}

}  // namespace
}  // namespace codegen
