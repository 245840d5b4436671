// SPDX-License-Identifier: Apache-2.0
//
// What hosts do to a batcher, and what becomes of everybody else. Row ids are those of the
// catalogue of hostile inputs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "api/batcher_testing.h"
#include "codegen/batcher.h"
#include "support/sanitizers.h"

namespace codegen {
namespace {

using testing::Alone;
using testing::Endless;
using testing::Gate;
using ::testing::HasSubstr;
using testing::NewBatcher;
using Clock = std::chrono::steady_clock;

// A callback that blocks holds its request where it is: everything below is then certain.
class Held {
 public:
  Held(Batcher& batcher, int new_tokens)
      : handle_(batcher.Submit(Endless(new_tokens), {.on_chunk = [this](const Chunk&) {
                                 first_.try_set();
                                 gate_.Wait();
                                 return Next::kContinue;
                               }})) {}
  ~Held() {
    if (!opened_) Release();
    handle_->Wait();  // the callback uses this object
  }
  void Release() {
    opened_ = true;
    gate_.Open();
  }
  void AwaitFirst() { first_.get(); }
  Handle& handle() { return *handle_; }

 private:
  struct First {
    void try_set() {
      if (!set.exchange(true)) promise.set_value();
    }
    void get() { promise.get_future().get(); }
    std::atomic<bool> set = false;
    std::promise<void> promise;
  } first_;
  Gate gate_;
  bool opened_ = false;
  absl::StatusOr<Handle> handle_;
};

TEST(Batcher, L01CancelIsIdempotentAtAnyTimeFromAnyThread) {
  const auto batcher = NewBatcher(testing::TinyModel());
  absl::StatusOr<Handle> handle = batcher->Submit(Endless(59));
  std::vector<std::thread> hosts;
  for (int i = 0; i < 64; ++i) hosts.emplace_back([&] { handle->Cancel(); });
  for (std::thread& host : hosts) host.join();
  const Completion& completion = handle->Wait();
  handle->Cancel();
  EXPECT_TRUE(completion.finish_reason == FinishReason::kCancelled ||
              completion.finish_reason == FinishReason::kLength);
  EXPECT_EQ(batcher->metrics().requests_accepted, 1U);
}

TEST(Batcher, L03CancellingAQueuedRequestLeavesTheRunningOneAlone) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model, {.max_batch = 1, .step_tokens = 8, .output_tokens = 100});
  absl::StatusOr<Handle> running = batcher->Submit(Endless(50));
  absl::StatusOr<Handle> queued = batcher->Submit(Endless(50, {1, 2}));
  queued->Cancel();
  EXPECT_EQ(running->Wait().token_ids, Alone(model, Endless(50)));
  EXPECT_LT(queued->Wait().token_ids.size(), 51U);
}

TEST(Batcher, L04AThrowingCallbackEndsItsOwnRequestAlone) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model);
  absl::StatusOr<Handle> other = batcher->Submit(Endless(40));
  absl::StatusOr<Handle> std_exception = batcher->Submit(
      Endless(40), {.on_chunk = [](const Chunk&) -> Next { throw std::runtime_error("boom"); }});
  absl::StatusOr<Handle> anything =
      batcher->Submit(Endless(40), {.on_chunk = [](const Chunk&) -> Next { throw 42; }});

  EXPECT_TRUE(absl::IsUnknown(std_exception->Wait().status));
  EXPECT_THAT(std::string(std_exception->Wait().status.message()), HasSubstr("boom"));
  EXPECT_TRUE(absl::IsUnknown(anything->Wait().status));
  EXPECT_EQ(anything->Wait().finish_reason, FinishReason::kError);
  EXPECT_EQ(other->Wait().token_ids, Alone(model, Endless(40)));
}

TEST(Batcher, L05ABlockedCallbackStallsItsOwnRequestAlone) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model, {.max_batch = 1, .step_tokens = 8, .output_tokens = 2});
  Held held(*batcher, 50);
  held.AwaitFirst();

  // There is one place in the batch, and the one that holds it is not read.
  EXPECT_EQ(batcher->Submit(Endless(40))->Wait().token_ids, Alone(model, Endless(40)));

  EXPECT_FALSE(held.handle().done());
  held.Release();
  EXPECT_EQ(held.handle().Wait().token_ids, Alone(model, Endless(50)));
}

TEST(Batcher, ManyBlockedCallbacksStallNobodyElse) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model);
  std::vector<std::unique_ptr<Held>> held;
  for (int i = 0; i < 20; ++i) held.push_back(std::make_unique<Held>(*batcher, 50));
  for (const auto& one : held) one->AwaitFirst();
  EXPECT_EQ(batcher->Submit(Endless(40))->Wait().token_ids, Alone(model, Endless(40)));
}

TEST(Batcher, L06CallbacksMaySubmitCancelAndAsk) {
  const auto batcher = NewBatcher(testing::TinyModel());
  std::promise<std::vector<TokenId>> inner;
  std::atomic<bool> once = false;
  absl::StatusOr<Handle> outer =
      batcher->Submit(Endless(20), {.on_chunk = [&](const Chunk&) {
                        if (!once.exchange(true)) {
                          inner.set_value(batcher->Submit(Endless(5))->Wait().token_ids);
                          EXPECT_GE(batcher->metrics().requests_accepted, 2U);
                        }
                        return Next::kContinue;
                      }});
  EXPECT_EQ(inner.get_future().get().size(), 5U);
  EXPECT_EQ(outer->Wait().token_ids.size(), 20U);
}

TEST(Batcher, L07ACallbackMayDestroyItsOwnHandle) {
  const auto batcher = NewBatcher(testing::TinyModel());
  std::promise<Completion> completed;
  std::promise<void> stored;
  std::shared_future<void> there = stored.get_future().share();
  std::optional<Handle> handle;
  absl::StatusOr<Handle> made = batcher->Submit(
      Endless(50), {.on_chunk =
                        [&](const Chunk&) {
                          there.wait();
                          handle.reset();
                          return Next::kContinue;
                        },
                    .on_done = [&](const Completion& c) { completed.set_value(c); }});
  handle.emplace(*std::move(made));
  stored.set_value();
  const Completion completion = completed.get_future().get();
  EXPECT_LE(completion.token_ids.size(), 50U);
}

TEST(Batcher, L08ACallbackMayDestroyTheBatcher) {
  auto batcher = NewBatcher(testing::TinyModel());
  std::promise<void> destroyed;
  std::promise<void> stored;
  std::shared_future<void> there = stored.get_future().share();
  absl::StatusOr<Handle> handle = batcher->Submit(Endless(50), {.on_chunk = [&](const Chunk&) {
                                                    there.wait();
                                                    if (batcher) {
                                                      batcher.reset();
                                                      destroyed.set_value();
                                                    }
                                                    return Next::kContinue;
                                                  }});
  stored.set_value();
  destroyed.get_future().get();
  handle->Wait();
  EXPECT_TRUE(handle->done());
}

TEST(Batcher, L09SubmitAfterDrainIsUnavailable) {
  const auto batcher = NewBatcher(testing::TinyModel());
  EXPECT_TRUE(batcher->Drain().ok());
  EXPECT_TRUE(absl::IsUnavailable(batcher->Submit(Endless(3)).status()));
  EXPECT_EQ(batcher->health().state, Health::State::kDraining);
}

TEST(Batcher, DrainLetsRequestsEndAndCancelsWhatIsLate) {
  const auto batcher = NewBatcher(testing::TinyModel(), {.output_tokens = 1});
  absl::StatusOr<Handle> free = batcher->Submit(Endless(30));
  Held held(*batcher, 50);
  held.AwaitFirst();

  // Enough for the 30 tokens of `free` on a machine with other work, too.
  const std::chrono::milliseconds patience(sanitizers::kAny ? 4000 : 800);
  const absl::Status status = batcher->Drain(Clock::now() + patience);

  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_TRUE(free->Wait().status.ok());
  held.Release();
  EXPECT_TRUE(absl::IsCancelled(held.handle().Wait().status));
}

TEST(Batcher, L10DestroyingItEndsAThousandLiveAndAThousandQueuedOnce) {
  std::atomic<int> ended = 0;
  std::vector<Handle> handles;
  {
    const auto batcher = NewBatcher(
        testing::TinyModel(), {.max_batch = 1000, .step_tokens = 1000, .queue_requests = 4000});
    for (int i = 0; i < 2000; ++i) {
      absl::StatusOr<Handle> handle =
          batcher->Submit(Endless(59), {.on_done = [&](const Completion&) { ++ended; }});
      ASSERT_TRUE(handle.ok()) << handle.status();
      handles.push_back(*std::move(handle));
    }
  }
  for (Handle& handle : handles) handle.Wait();
  EXPECT_EQ(ended, 2000);
}

TEST(Batcher, L11KeepsItsModelAlive) {
  std::unique_ptr<Batcher> batcher;
  {
    const Model model = testing::TinyModel();
    batcher = NewBatcher(model);
  }
  EXPECT_EQ(batcher->Submit(Endless(4))->Wait().token_ids.size(), 4U);
}

TEST(Batcher, L13TwoOnOneModelDoNotDisturbEachOther) {
  const Model model = testing::TinyModel();
  const auto a = NewBatcher(model);
  const auto b = NewBatcher(model);
  absl::StatusOr<Handle> in_a = a->Submit(Endless(40));
  absl::StatusOr<Handle> in_b = b->Submit(Endless(40));
  EXPECT_EQ(in_a->Wait().token_ids, in_b->Wait().token_ids);
}

TEST(Batcher, DestroyingAHandleCancelsUnlessDetached) {
  const auto batcher = NewBatcher(testing::TinyModel(), {.output_tokens = 1});
  const auto reason = [&](bool detach) {
    std::promise<FinishReason> ended;
    Gate gate;
    {
      absl::StatusOr<Handle> handle = batcher->Submit(
          Endless(50), {.on_chunk =
                            [&](const Chunk&) {
                              gate.Wait();
                              return Next::kContinue;
                            },
                        .on_done = [&](const Completion& c) { ended.set_value(c.finish_reason); }});
      if (detach) handle->Detach();
    }
    gate.Open();
    return ended.get_future().get();
  };
  EXPECT_EQ(reason(false), FinishReason::kCancelled);
  EXPECT_EQ(reason(true), FinishReason::kLength);
}

TEST(Batcher, Q04ADeadlineReturnsWhatThereIs) {
  const auto batcher = NewBatcher(testing::TinyModel(), {.output_tokens = 1});
  Request request = Endless(50);
  request.done_by = Clock::now() + std::chrono::milliseconds(200);
  Gate gate;
  absl::StatusOr<Handle> handle = batcher->Submit(request, {.on_chunk = [&](const Chunk&) {
                                                    gate.Wait();
                                                    return Next::kContinue;
                                                  }});
  ASSERT_TRUE(handle.ok()) << handle.status();
  while (Clock::now() < request.done_by) std::this_thread::yield();
  gate.Open();
  const Completion& completion = handle->Wait();
  EXPECT_EQ(completion.finish_reason, FinishReason::kDeadline);
  EXPECT_TRUE(absl::IsDeadlineExceeded(completion.status));
  EXPECT_GE(completion.token_ids.size(), 1U);
  EXPECT_LT(completion.token_ids.size(), 50U);
}

TEST(Batcher, Q07AFullQueueRefusesAndSaysWhenToTryAgain) {
  const auto batcher = NewBatcher(
      testing::TinyModel(),
      {.max_batch = 4, .policy = {.window = std::chrono::seconds(30)}, .queue_requests = 2});
  absl::StatusOr<Handle> first = batcher->Submit(Endless(3));
  absl::StatusOr<Handle> second = batcher->Submit(Endless(3));

  const absl::Status status = batcher->Submit(Endless(3)).status();

  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("queue_requests allows 2"));
  ASSERT_TRUE(Batcher::RetryAfter(status).has_value());
  EXPECT_GE(Batcher::RetryAfter(status)->count(), 1);
  EXPECT_FALSE(Batcher::RetryAfter(absl::OkStatus()).has_value());
}

}  // namespace
}  // namespace codegen
