// SPDX-License-Identifier: Apache-2.0
#include "codegen/thread_pool.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/usable_cpus.h"
#include "codegen/model.h"
#include "codegen/session.h"
#include "support/sine_folder.h"
#include "support/status_is.h"

namespace codegen {
namespace {

using testing::IsOk;
using testing::StatusIs;
using testing::TempFolder;
using testing::WriteSineFolder;

using enum absl::StatusCode;

std::shared_ptr<ThreadPool> MakePool(const ThreadPoolOptions& options) {
  auto pool = ThreadPool::Create(options);
  EXPECT_THAT(pool, IsOk());
  return *pool;
}

// What the tiny model answers.
std::vector<float> LogProbabilities(const Model& model) {
  auto session = Session::Create(model);
  return session->ScoreTokens(std::vector<TokenId>{3, 1, 4, 1, 5, 9, 2, 6})->logprobs;
}

TEST(ThreadPool, TakesAThreadForEveryCoreByDefault) {
  EXPECT_EQ(MakePool({})->threads(), base::UsableCores());
  EXPECT_EQ(MakePool({.threads = 3})->threads(), 3);
}

TEST(ThreadPool, RefusesCountsOutOfRange) {
  EXPECT_THAT(ThreadPool::Create({.threads = -1}), StatusIs(kInvalidArgument, "threads is -1"));
  EXPECT_THAT(ThreadPool::Create({.threads = 257}), StatusIs(kInvalidArgument, "0 to 256"));
}

TEST(ThreadPool, ExcludesLoadOptionsThreads) {
  TempFolder folder;
  WriteSineFolder(folder);

  const auto model = Model::Load(folder.path(), {.threads = 2, .thread_pool = MakePool({})});

  EXPECT_THAT(model, StatusIs(kInvalidArgument, "LoadOptions::threads"));
}

TEST(ThreadPool, ComputesTheSameWhenPinned) {
  TempFolder folder;
  WriteSineFolder(folder);
  const auto alone = Model::Load(folder.path(), {.threads = 1});

  const auto pinned = Model::Load(
      folder.path(), {.thread_pool = MakePool({.threads = 3, .affinity = Affinity::kPinned})});

  ASSERT_THAT(pinned, IsOk());
  EXPECT_EQ(LogProbabilities(*pinned), LogProbabilities(*alone));
}

TEST(ThreadPool, OutlivesItsHandleInTheModel) {
  TempFolder folder;
  WriteSineFolder(folder);
  auto pool = MakePool({.threads = 2});
  const auto model = Model::Load(folder.path(), {.thread_pool = pool});
  const std::vector<float> before = LogProbabilities(*model);

  pool.reset();

  EXPECT_EQ(LogProbabilities(*model), before);
}

TEST(ThreadPool, IsSharedByModelsOfTwoThreads) {
  TempFolder folder;
  WriteSineFolder(folder);
  const auto pool = MakePool({.threads = 3});
  std::vector<std::thread> threads;
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16}) {
    threads.emplace_back([&, format] {
      const auto alone = Model::Load(folder.path(), {.weights = format, .threads = 1});
      const auto sharing = Model::Load(folder.path(), {.weights = format, .thread_pool = pool});
      ASSERT_THAT(sharing, IsOk());
      const std::vector<float> expected = LogProbabilities(*alone);
      for (int i = 0; i < 30; ++i) EXPECT_EQ(LogProbabilities(*sharing), expected);
    });
  }

  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace codegen
