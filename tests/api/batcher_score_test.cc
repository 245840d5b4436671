// SPDX-License-Identifier: Apache-2.0
//
// Scoring in a session on a batcher: scheduled there, in the memory that is there.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "api/batcher_testing.h"
#include "codegen/batcher.h"
#include "codegen/session.h"

namespace codegen {
namespace {

using testing::Alone;
using testing::Endless;
using testing::NewBatcher;

std::vector<TokenId> RandomText(std::mt19937& random, std::size_t tokens) {
  std::vector<TokenId> text(tokens);
  for (TokenId& id : text) id = static_cast<TokenId>(random() % 13);
  return text;
}

Score ScoreOf(absl::StatusOr<Session> session, std::span<const TokenId> text) {
  absl::StatusOr<Score> score = session->ScoreTokens(text);
  EXPECT_TRUE(score.ok()) << score.status();
  return *std::move(score);
}

TEST(BatcherScore, HasTheBitsOfASessionAlone) {
  const Model model = testing::TinyModel();
  std::mt19937 random(5);
  for (const int max_batch : {1, 3, 64}) {
    const auto batcher = NewBatcher(model, {.max_batch = max_batch, .step_tokens = 64});
    for (const std::size_t tokens : {1U, 2U, 3U, 17U, 64U}) {
      const std::vector<TokenId> text = RandomText(random, tokens);

      const Score score = ScoreOf(Session::Create(*batcher), text);

      const Score expected = ScoreOf(Session::Create(model), text);
      EXPECT_EQ(score.token_ids, text);
      EXPECT_EQ(score.logprobs, expected.logprobs);
      EXPECT_EQ(score.perplexity, expected.perplexity);
    }
  }
}

TEST(BatcherScore, OfATextThatWasSeenIsTheSame) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model);
  absl::StatusOr<Session> session = Session::Create(*batcher);
  std::mt19937 random(6);
  const std::vector<TokenId> text = RandomText(random, 50);

  const Score first = *session->ScoreTokens(text);
  const Completion completion = *session->Complete(Endless(5, text));
  const Score again = *session->ScoreTokens(text);

  EXPECT_EQ(again.logprobs, first.logprobs);
  EXPECT_EQ(completion.token_ids, Alone(model, Endless(5, text)));
  EXPECT_EQ(completion.usage.cached_prompt_tokens, 48);
}

// Memory for hardly more than one context is taken away from them all the time.
TEST(BatcherScore, AndWhatRunsBesideItChangeNothing) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(
      model, {.max_batch = 6, .step_tokens = 40, .kv_bytes = 96 * model.info().kv_bytes_per_token});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> hosts;
  for (unsigned t = 0; t < 3; ++t) {
    hosts.emplace_back([&, t] {
      std::mt19937 random(t);
      absl::StatusOr<Session> session = Session::Create(*batcher);
      for (int i = 0; i < 20; ++i) {
        const std::vector<TokenId> text = RandomText(random, 2 + random() % 63);
        const absl::StatusOr<Score> score = session->ScoreTokens(text);
        if (!score.ok() || score->logprobs != ScoreOf(Session::Create(model), text).logprobs)
          ++wrong;
      }
    });
    hosts.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 20; ++i) {
        const Request request = Endless(30, RandomText(random, 1 + random() % 30));
        if (batcher->Submit(request)->Wait().token_ids != Alone(model, request)) ++wrong;
      }
    });
  }
  for (std::thread& host : hosts) host.join();

  EXPECT_EQ(wrong, 0);
  EXPECT_GT(batcher->metrics().preemptions, 0U);
}

TEST(BatcherScore, CountsAsARequestWhosePromptIsComputedAndNothingDrawn) {
  const auto batcher = NewBatcher(testing::TinyModel());
  ScoreOf(Session::Create(*batcher), std::vector<TokenId>{3, 1, 4, 1, 5});
  ASSERT_TRUE(batcher->Drain().ok());

  const Metrics metrics = batcher->metrics();

  EXPECT_EQ(metrics.requests_accepted, 1U);
  EXPECT_EQ(metrics.requests_finished[static_cast<std::size_t>(FinishReason::kLength)], 1U);
  EXPECT_EQ(metrics.prompt_tokens, 4U);
  EXPECT_EQ(metrics.generation_tokens, 0U);
  EXPECT_EQ(metrics.time_to_first_token.count, 0U);
}

TEST(BatcherScore, IsCancelledWhileItWaits) {
  const auto batcher = NewBatcher(testing::TinyModel(),
                                  {.max_batch = 4, .policy = {.window = std::chrono::seconds(60)}});
  absl::StatusOr<Session> session = Session::Create(*batcher);
  std::atomic<bool> returned = false;
  absl::Status status;
  std::thread host([&] {
    status = session->ScoreTokens(std::vector<TokenId>{3, 1, 4}).status();
    returned = true;
  });

  while (!returned) session->Cancel();  // what comes before the call does nothing
  host.join();

  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST(BatcherScore, IsRefusedWhereARequestWouldBe) {
  auto batcher = NewBatcher(
      testing::TinyModel(),
      {.max_batch = 4, .policy = {.window = std::chrono::seconds(60)}, .queue_requests = 1});
  absl::StatusOr<Session> session = Session::Create(*batcher);
  const std::vector<TokenId> text = {3, 1, 4};
  const absl::StatusOr<Handle> waits = batcher->Submit(Endless(3));

  EXPECT_TRUE(absl::IsResourceExhausted(session->ScoreTokens(text).status()));
  EXPECT_EQ(batcher->metrics().requests_refused, 1U);
  batcher.reset();
  EXPECT_TRUE(absl::IsUnavailable(session->ScoreTokens(text).status()));
}

}  // namespace
}  // namespace codegen
