// SPDX-License-Identifier: Apache-2.0
//
// Memory or threads run out, at each moment at which they can: the operation says so, everybody
// gets a completion, and what was there before goes on or can be made again.
#include "api/scarcity.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "api/batcher_testing.h"
#include "codegen/session.h"
#include "codegen/thread_pool.h"
#include "support/sine_folder.h"

namespace codegen {
namespace {

using testing::Lasting;
using testing::NoMemoryAt;
using testing::NoThreadAt;
using testing::Whose;

constexpr int kNeverReached = 100'000;

std::vector<TokenId> Tokens(Batcher& batcher, const Request& request) {
  absl::StatusOr<Handle> handle = batcher.Submit(request);
  return handle.ok() ? handle->Wait().token_ids : std::vector<TokenId>();
}

class Scarcity : public ::testing::TestWithParam<Lasting> {
 protected:
  const Model model_ = testing::TinyModel();
  const Request request_ = testing::Endless(40);
  const std::vector<TokenId> expected_ = testing::Alone(model_, request_);
};

TEST_P(Scarcity, R03ASubmitWithoutMemoryIsRefusedAndLeavesNothingBehind) {
  const auto batcher = testing::NewBatcher(model_, {.max_batch = 4});
  bool reached = true;
  for (int k = 1; reached && k < kNeverReached; ++k) {
    absl::Status status;
    {
      Request request = request_;
      const NoMemoryAt scarcity(k, Whose::kThisThread, GetParam());
      const absl::StatusOr<Handle> handle = batcher->Submit(std::move(request));
      status = handle.status();
      reached = scarcity.reached();
    }
    EXPECT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << status;
    EXPECT_TRUE(status.ok() || reached) << status;
    ASSERT_EQ(Tokens(*batcher, request_), expected_) << "after allocation " << k;
  }
  EXPECT_EQ(batcher->Drain(Time::max()), absl::OkStatus());
  EXPECT_EQ(batcher->metrics().requests_running, 0);
  EXPECT_EQ(batcher->metrics().requests_waiting, 0);
}

// The threads of the engine and the delivery may lose an allocation anywhere.
TEST_P(Scarcity, R03WhatRunsOutOfMemoryCompletesAndSaysSo) {
  bool reached = true;
  for (int k = 1; reached && k < kNeverReached; ++k) {
    auto batcher = testing::NewBatcher(model_, {.max_batch = 4});
    std::vector<TokenId> streamed;
    streamed.reserve(100);
    int done = 0;
    Completion completion;
    {
      Callbacks callbacks{.on_chunk =
                              [&](const Chunk& chunk) {
                                streamed.insert(streamed.end(), chunk.token_ids.begin(),
                                                chunk.token_ids.end());
                                return Next::kContinue;
                              },
                          .on_done = [&](const Completion&) { ++done; }};
      const NoMemoryAt scarcity(k, Whose::kOtherThreads, GetParam());
      absl::StatusOr<Handle> handle = batcher->Submit(request_, std::move(callbacks));
      if (handle.ok()) completion = handle->Wait();
      if (!handle.ok()) completion.status = handle.status();
      reached = scarcity.reached();
      if (GetParam() == Lasting::kFromThenOn) batcher.reset();  // even that works without memory
    }
    if (completion.status.ok()) {
      EXPECT_EQ(completion.token_ids, expected_) << "allocation " << k;
    } else {
      EXPECT_TRUE(reached) << completion.status;
      EXPECT_TRUE(absl::IsResourceExhausted(completion.status) ||
                  absl::IsUnavailable(completion.status))
          << "allocation " << k << ": " << completion.status;
    }
    if (batcher && batcher->health().state == Health::State::kServing) {
      ASSERT_EQ(Tokens(*batcher, request_), expected_) << "after allocation " << k;
    } else if (batcher) {
      EXPECT_TRUE(batcher->health().recreate);
    }
    batcher.reset();  // on_done has returned by now
    EXPECT_LE(done, 1);
  }
}

TEST_P(Scarcity, R03ABatcherWithoutMemoryIsNotMade) {
  bool reached = true;
  for (int k = 1; reached && k < kNeverReached; ++k) {
    absl::Status status;
    {
      const NoMemoryAt scarcity(k, Whose::kThisThread, GetParam());
      status = Batcher::Create(model_, {.max_batch = 4}).status();
      reached = scarcity.reached();
    }
    EXPECT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << k << ": " << status;
  }
}

// A model is read by several threads.
TEST_P(Scarcity, R03AModelWithoutMemoryIsNotLoaded) {
  const testing::TempFolder folder;
  testing::WriteSineFolder(folder);
  const LoadOptions options = testing::OnTestDevice({.weights = WeightFormat::kInt8, .threads = 2});
  bool reached = true;
  for (int k = 1; reached && k < kNeverReached; ++k) {
    absl::Status status;
    {
      const NoMemoryAt scarcity(k, Whose::kAllThreads, GetParam());
      status = Model::Load(folder.path(), options).status();
      reached = scarcity.reached();
    }
    EXPECT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << k << ": " << status;
    EXPECT_TRUE(status.ok() || reached) << k << ": " << status;
  }
}

TEST_P(Scarcity, R03ASessionWithoutMemorySaysSoAndGoesOn) {
  absl::StatusOr<Session> session = Session::Create(model_);
  bool reached = true;
  for (int k = 1; reached && k < kNeverReached; ++k) {
    absl::Status status;
    {
      const NoMemoryAt scarcity(k, Whose::kAllThreads, GetParam());
      status = session->Complete(request_).status();
      reached = scarcity.reached();
    }
    EXPECT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << k << ": " << status;
    // Ranks of which one has failed agree on nothing any more; a new session has others.
    if (testing::TestRanks() > 1 && absl::IsUnavailable(session->Complete(request_).status()))
      session = Session::Create(model_);
    ASSERT_EQ(session->Complete(request_)->token_ids, expected_) << "after allocation " << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Memory, Scarcity, ::testing::Values(Lasting::kOnce, Lasting::kFromThenOn),
                         [](const auto& lasting) {
                           return lasting.param == Lasting::kOnce ? "Once" : "FromThenOn";
                         });

TEST(Scarcity, R10ABatcherThatLacksAThreadIsNotMade) {
  if (!testing::CountsThreads()) GTEST_SKIP() << "sanitizers have a pthread_create of their own";
  const Model model = testing::TinyModel();
  int threads = 0;
  bool reached = true;
  for (int k = 1; reached && k < 100; ++k) {
    absl::Status status;
    {
      const NoThreadAt scarcity(k);
      status = Batcher::Create(model, {.max_batch = 4}).status();
      reached = scarcity.reached();
    }
    EXPECT_EQ(absl::IsResourceExhausted(status), reached) << k << ": " << status;
    if (reached) ++threads;
  }
  EXPECT_EQ(threads, 2 + testing::TestRanks()) << "callbacks, watchdog, engine or first rank, ...";
}

TEST(Scarcity, R10AModelThatLacksAThreadIsNotLoaded) {
  if (!testing::CountsThreads()) GTEST_SKIP() << "sanitizers have a pthread_create of their own";
  int threads = 0;
  bool reached = true;
  for (int k = 1; reached && k < 100; ++k) {
    absl::Status status;
    {
      const NoThreadAt scarcity(k);
      status = ThreadPool::Create({.threads = 4}).status();
      reached = scarcity.reached();
    }
    EXPECT_EQ(absl::IsResourceExhausted(status), reached) << k << ": " << status;
    if (reached) ++threads;
  }
  EXPECT_EQ(threads, 3) << "the caller is the fourth";
}

// Callbacks of a host that keeps threads busy wait for each other, once there are no more threads.
TEST(Scarcity, R10ADeliveryThatGetsNoMoreThreadsGoesOnWithThoseItHas) {
  if (!testing::CountsThreads()) GTEST_SKIP() << "sanitizers have a pthread_create of their own";
  const Model model = testing::TinyModel();
  const auto batcher = testing::NewBatcher(model, {.max_batch = 4});
  const Request request = testing::Endless(5);
  const std::vector<TokenId> expected = testing::Alone(model, request);

  const NoThreadAt scarcity(1);
  std::vector<TokenId> streamed;
  auto handle = batcher->Submit(request, {.on_chunk = [&](const Chunk& chunk) {
                                  streamed.insert(streamed.end(), chunk.token_ids.begin(),
                                                  chunk.token_ids.end());
                                  return Next::kContinue;
                                }});
  handle->Wait();

  EXPECT_TRUE(scarcity.reached());
  EXPECT_EQ(streamed, expected);
}

}  // namespace
}  // namespace codegen
