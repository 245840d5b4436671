// SPDX-License-Identifier: Apache-2.0
#include "codegen/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "api/batcher_testing.h"

namespace codegen {
namespace {

using testing::Alone;
using testing::Endless;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::NewBatcher;
using Clock = std::chrono::steady_clock;

TEST(Batcher, CompletesAsASessionDoes) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model);

  absl::StatusOr<Handle> handle = batcher->Submit(Endless(9));

  ASSERT_TRUE(handle.ok()) << handle.status();
  const Completion& completion = handle->Wait();
  EXPECT_TRUE(completion.status.ok()) << completion.status;
  EXPECT_EQ(completion.token_ids, Alone(model, Endless(9)));
  EXPECT_EQ(completion.finish_reason, FinishReason::kLength);
  EXPECT_EQ(completion.usage.prompt_tokens, 5);
  EXPECT_EQ(completion.usage.completion_tokens, 9);
  EXPECT_LE(completion.timeline.queued, completion.timeline.scheduled);
  EXPECT_LE(completion.timeline.scheduled, completion.timeline.first_token);
  EXPECT_LE(completion.timeline.first_token, completion.timeline.done);
}

TEST(Batcher, StreamsTheTextThatItReturns) {
  const Model& model = testing::ShippedTinyModel();
  const auto batcher = NewBatcher(model);
  const Request request{.prompt = "def fib(n):\n", .max_new_tokens = 24};

  absl::StatusOr<Handle> handle = batcher->Submit(request);
  ASSERT_TRUE(handle.ok()) << handle.status();
  std::string streamed;
  std::vector<TokenId> tokens;
  while (const std::optional<Chunk> chunk = handle->Next()) {
    streamed += chunk->text;
    tokens.insert(tokens.end(), chunk->token_ids.begin(), chunk->token_ids.end());
  }

  EXPECT_TRUE(handle->done());
  EXPECT_EQ(streamed, handle->Wait().text);
  EXPECT_EQ(tokens, handle->Wait().token_ids);
  EXPECT_EQ(tokens, Alone(model, request));
}

TEST(Batcher, CallsBackInOrderAndEndsWithOneCompletion) {
  const auto batcher = NewBatcher(testing::ShippedTinyModel());
  std::string streamed;
  std::promise<Completion> completed;

  absl::StatusOr<Handle> handle = batcher->Submit(
      {.prompt = "import os\n", .max_new_tokens = 24},
      {.on_chunk =
           [&](const Chunk& chunk) {
             streamed += chunk.text;
             return Next::kContinue;
           },
       .on_done = [&](const Completion& completion) { completed.set_value(completion); }});
  ASSERT_TRUE(handle.ok()) << handle.status();
  const Completion completion = completed.get_future().get();

  EXPECT_EQ(streamed, completion.text);
  EXPECT_FALSE(handle->Next().has_value());
}

TEST(Batcher, EndsBeforeAStopStringAndStopsComputing) {
  const Model& model = testing::ShippedTinyModel();
  const auto batcher = NewBatcher(model);
  Request request{.prompt = "def fib(n):\n", .max_new_tokens = 64};
  const std::string whole = batcher->Submit(request)->Wait().text;
  ASSERT_GT(whole.size(), 8U);
  request.stop.strings = {whole.substr(5, 3)};

  const Completion completion = batcher->Submit(request)->Wait();

  EXPECT_EQ(completion.text, whole.substr(0, whole.find(request.stop.strings[0])));
  EXPECT_EQ(completion.finish_reason, FinishReason::kStop);
  EXPECT_EQ(completion.token_ids, Alone(model, request));
}

TEST(Batcher, ManyRequestsOfManyThreadsEachGetWhatTheyGetAlone) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model, {.max_batch = 5, .step_tokens = 24});
  constexpr int kThreads = 4;
  constexpr int kRequests = 40;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> hosts;
  for (int t = 0; t < kThreads; ++t) {
    hosts.emplace_back([&, t] {
      for (int i = 0; i < kRequests; ++i) {
        Request request = Endless(1 + (7 * i + t) % 20, {t, i % 13, 3, (i / 2) % 13});
        request.temperature = i % 3 == 0 ? 0.0F : 1.5F;
        request.seed = static_cast<std::uint64_t>(100 * t + i);
        absl::StatusOr<Handle> handle = batcher->Submit(request);
        if (!handle.ok() || handle->Wait().token_ids != Alone(model, request)) ++wrong;
      }
    });
  }
  for (std::thread& host : hosts) host.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Batcher, DrawsSeveralSamplesOfOnePrompt) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model);
  Request request = Endless(12, std::vector<TokenId>(40, 7));
  request.temperature = 1.5F;
  request.seed = 9;
  request.n = 4;

  const Completion completion = batcher->Submit(request)->Wait();

  ASSERT_EQ(completion.more.size(), 3U);
  EXPECT_EQ(completion.usage.completion_tokens, 48);
  request.n = 1;
  EXPECT_EQ(completion.token_ids, Alone(model, request));
  EXPECT_NE(completion.more[0].token_ids, completion.token_ids);
  EXPECT_NE(completion.more[1].token_ids, completion.more[0].token_ids);
}

TEST(Batcher, SaysHowLikelyEachTokenWas) {
  const Model& model = testing::ShippedTinyModel();
  const auto batcher = NewBatcher(model);
  Request request{.prompt = "def fib(n):\n",
                  .max_new_tokens = 24,
                  .temperature = 1,
                  .n = 2,
                  .logprobs = true,
                  .stop = {.ignore_eos = true}};

  absl::StatusOr<Handle> handle = batcher->Submit(request);
  ASSERT_TRUE(handle.ok()) << handle.status();
  std::vector<float> streamed[2];
  while (const std::optional<Chunk> chunk = handle->Next()) {
    EXPECT_EQ(chunk->logprobs.size(), chunk->token_ids.size());
    std::vector<float>& all = streamed[chunk->sample];
    all.insert(all.end(), chunk->logprobs.begin(), chunk->logprobs.end());
  }

  const Completion& completion = handle->Wait();
  EXPECT_EQ(streamed[0], completion.logprobs);
  EXPECT_EQ(streamed[1], completion.more[0].logprobs);
  EXPECT_EQ(completion.logprobs.size(), 24U);
  EXPECT_NE(streamed[0], streamed[1]);
  request.n = 1;
  EXPECT_EQ(completion.logprobs, Session::Create(model)->Complete(request)->logprobs);
  request.logprobs = false;
  EXPECT_THAT(batcher->Submit(request)->Wait().logprobs, IsEmpty());
}

TEST(Batcher, PenalisesEachSampleForItsOwnTokens) {
  const Model& model = testing::ShippedTinyModel();
  const auto batcher = NewBatcher(model);
  Request request{.prompt = "def fib(n):\n",
                  .max_new_tokens = 24,
                  .temperature = 0.5F,
                  .repetition_penalty = 1.2F,
                  .frequency_penalty = 1,
                  .presence_penalty = 0.5F,
                  .logit_bias = {{10, -5}},
                  .n = 2,
                  .stop = {.ignore_eos = true}};

  const Completion completion = batcher->Submit(request)->Wait();

  request.n = 1;
  EXPECT_EQ(completion.token_ids, Alone(model, request));
  EXPECT_NE(completion.more[0].token_ids, completion.token_ids);
  Request plain = request;
  plain.repetition_penalty = 1;
  plain.frequency_penalty = 0;
  plain.presence_penalty = 0;
  plain.logit_bias = {};
  EXPECT_NE(completion.token_ids, Alone(model, plain));
}

TEST(Batcher, FindsARepeatedPrefixUnlessTheSaltDiffers) {
  const auto batcher = NewBatcher(testing::TinyModel());
  Request request = Endless(2, std::vector<TokenId>(40, 7));
  batcher->Submit(request)->Wait();

  EXPECT_EQ(batcher->Submit(request)->Wait().usage.cached_prompt_tokens, 32);
  request.cache_salt = "another";
  EXPECT_EQ(batcher->Submit(request)->Wait().usage.cached_prompt_tokens, 0);
  EXPECT_EQ(batcher->metrics().prefix_cache_hits, 32U);
}

TEST(Batcher, RefusesBadRequestsNamingFieldValueAndLimit) {
  const auto batcher = NewBatcher(testing::TinyModel());
  const auto message = [&](const Request& request) {
    const absl::StatusOr<Handle> handle = batcher->Submit(request);
    EXPECT_TRUE(absl::IsInvalidArgument(handle.status())) << handle.status();
    return std::string(handle.status().message());
  };
  Request request = Endless(3);
  request.n = 17;
  EXPECT_THAT(message(request), HasSubstr("n is 17, allowed 1 to 16"));
  request = Endless(3);
  request.priority = 101;
  EXPECT_THAT(message(request), HasSubstr("priority is 101, allowed -100 to 100"));
  request = Endless(3);
  request.cache_salt = std::string(257, 'x');
  EXPECT_THAT(message(request), HasSubstr("cache_salt has 257 bytes, limit 256"));
  EXPECT_THAT(message(Endless(3, std::vector<TokenId>(65, 1))),
              HasSubstr("prompt has 65 tokens, the context holds 64"));
  EXPECT_THAT(message({}), HasSubstr("prompt is empty"));
}

TEST(Batcher, RefusesBadOptionsNamingThem) {
  const Model model = testing::TinyModel();
  const auto message = [&](const BatcherOptions& options) {
    const auto batcher = Batcher::Create(model, options);
    EXPECT_TRUE(absl::IsInvalidArgument(batcher.status())) << batcher.status();
    return std::string(batcher.status().message());
  };
  EXPECT_THAT(message({.max_batch = 0}), HasSubstr("max_batch is 0, allowed 1 to 1024"));
  EXPECT_THAT(message({.max_batch = 9, .step_tokens = 8}),
              HasSubstr("step_tokens is 8, allowed 9"));
  EXPECT_THAT(message({.kv_bytes = 100}), HasSubstr("kv_bytes is 100, allowed"));
  EXPECT_THAT(message({.context_tokens = 65}), HasSubstr("context_tokens is 65, allowed 0 to 64"));
  EXPECT_THAT(message({.block_tokens = 24}), HasSubstr("block_tokens is 24"));
  EXPECT_THAT(message({.prefix_cache_quota = std::numeric_limits<double>::quiet_NaN()}),
              HasSubstr("prefix_cache_quota"));
  EXPECT_THAT(message({.policy = {.preferred = {65}}}), HasSubstr("policy.preferred is 65"));
  EXPECT_THAT(message({.queue_requests = 0}), HasSubstr("queue_requests is 0"));
  EXPECT_THAT(message({.output_tokens = 0}), HasSubstr("output_tokens is 0"));
}

TEST(Batcher, G07NoNewTokensEndsAtOnce) {
  const auto batcher = NewBatcher(testing::TinyModel());
  const Completion completion = batcher->Submit(Endless(0))->Wait();
  EXPECT_THAT(completion.token_ids, IsEmpty());
  EXPECT_EQ(completion.finish_reason, FinishReason::kLength);
  EXPECT_TRUE(completion.status.ok());
}

TEST(Batcher, G13ADeadlineInThePastIsRefusedAndNoneIsNone) {
  const auto batcher = NewBatcher(testing::TinyModel());
  Request request = Endless(3);
  request.done_by = Clock::now() - std::chrono::seconds(1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(batcher->Submit(request).status()));
  request.done_by = Time();
  EXPECT_TRUE(absl::IsDeadlineExceeded(batcher->Submit(request).status()));
  request.done_by = Time::max();
  EXPECT_TRUE(batcher->Submit(request)->Wait().status.ok());
}

TEST(Batcher, NextReturnsNothingWhenTheDeadlinePasses) {
  const auto batcher = NewBatcher(testing::TinyModel(),
                                  {.max_batch = 4, .policy = {.window = std::chrono::seconds(30)}});
  absl::StatusOr<Handle> waits = batcher->Submit(Endless(3));
  EXPECT_FALSE(waits->Next(Clock::now() + std::chrono::milliseconds(5)).has_value());
  EXPECT_EQ(waits->Wait(Clock::now()), nullptr);
  EXPECT_FALSE(waits->done());
}

TEST(Batcher, PreemptedRequestsGetTheSameTokens) {
  const Model model = testing::TinyModel();
  const std::int64_t context = 64 * model.info().kv_bytes_per_token;
  const auto batcher = NewBatcher(model, {.max_batch = 8, .kv_bytes = context});
  std::vector<Handle> handles;
  for (int i = 0; i < 8; ++i) handles.push_back(*batcher->Submit(Endless(50, {i, 2, 3, 4})));
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(handles[static_cast<std::size_t>(i)].Wait().token_ids,
              Alone(model, Endless(50, {i, 2, 3, 4})));
  }
  EXPECT_GT(batcher->metrics().preemptions, 0U);
}

TEST(Batcher, ReservingNeverPreempts) {
  const Model model = testing::TinyModel();
  const std::int64_t context = 64 * model.info().kv_bytes_per_token;
  const auto batcher =
      NewBatcher(model, {.max_batch = 8, .kv_bytes = context, .kv_policy = KvPolicy::kReserve});
  std::vector<Handle> handles;
  for (int i = 0; i < 8; ++i) handles.push_back(*batcher->Submit(Endless(30, {i, 2, 3, 4})));
  for (Handle& handle : handles) EXPECT_TRUE(handle.Wait().status.ok());
  EXPECT_EQ(batcher->metrics().preemptions, 0U);
}

TEST(Batcher, ASessionOnItGivesWhatASessionAloneGives) {
  const Model& model = testing::ShippedTinyModel();
  const auto batcher = NewBatcher(model);
  absl::StatusOr<Session> alone = Session::Create(model);
  absl::StatusOr<Session> batched = Session::Create(*batcher);
  const Request request{.prompt = "def fib(n):\n    if n", .max_new_tokens = 24};
  std::string streamed;
  const TextCallback on_text = [&](std::string_view text) {
    streamed += text;
    return Next::kContinue;
  };

  const absl::StatusOr<Completion> expected = alone->Complete(request);
  const absl::StatusOr<Completion> completion = batched->Complete(request, on_text);

  ASSERT_TRUE(completion.ok()) << completion.status();
  EXPECT_EQ(completion->text, expected->text);
  EXPECT_EQ(completion->token_ids, expected->token_ids);
  EXPECT_EQ(streamed, completion->text);
  EXPECT_EQ(batched->ScoreText("x = 1")->logprobs, alone->ScoreText("x = 1")->logprobs);
}

TEST(Batcher, ASessionOnItKeepsWhatItHasSeenToItself) {
  const auto batcher = NewBatcher(testing::TinyModel());
  absl::StatusOr<Session> one = Session::Create(*batcher);
  absl::StatusOr<Session> other = Session::Create(*batcher);
  const Request request = Endless(2, std::vector<TokenId>(40, 7));
  EXPECT_EQ(one->Complete(request)->usage.cached_prompt_tokens, 0);
  EXPECT_EQ(one->Complete(request)->usage.cached_prompt_tokens, 32);
  EXPECT_EQ(other->Complete(request)->usage.cached_prompt_tokens, 0);
  EXPECT_EQ(batcher->Submit(request)->Wait().usage.cached_prompt_tokens, 0);
}

TEST(Batcher, ASessionOnItCancelsAndSurvivesItsCallback) {
  const auto batcher = NewBatcher(testing::ShippedTinyModel());
  absl::StatusOr<Session> session = Session::Create(*batcher);
  const Request request{.prompt = "def fib(n):\n", .max_new_tokens = 200};

  const absl::StatusOr<Completion> cancelled =
      session->Complete(request, [](std::string_view) { return Next::kCancel; });
  const absl::StatusOr<Completion> thrown = session->Complete(
      request, [](std::string_view) -> Next { throw std::runtime_error("boom"); });

  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->finish_reason, FinishReason::kCancelled);
  EXPECT_TRUE(absl::IsUnknown(thrown.status())) << thrown.status();
  EXPECT_TRUE(session->Complete(request).ok());
}

TEST(Batcher, ASessionOnADestroyedOneIsUnavailable) {
  auto batcher = NewBatcher(testing::TinyModel());
  absl::StatusOr<Session> session = Session::Create(*batcher);
  batcher.reset();
  EXPECT_TRUE(absl::IsUnavailable(session->Complete(Endless(2)).status()));
}

TEST(Batcher, MetricsAddUp) {
  const auto batcher = NewBatcher(testing::TinyModel());
  for (int i = 0; i < 5; ++i) batcher->Submit(Endless(7))->Wait();
  EXPECT_FALSE(batcher->Submit({}).ok());
  EXPECT_TRUE(batcher->Drain().ok());

  const Metrics metrics = batcher->metrics();

  EXPECT_EQ(metrics.requests_accepted, 5U);
  EXPECT_EQ(metrics.requests_refused, 1U);
  EXPECT_EQ(metrics.requests_finished[static_cast<std::size_t>(FinishReason::kLength)], 5U);
  EXPECT_EQ(metrics.prompt_tokens, 25U);
  EXPECT_EQ(metrics.generation_tokens, 35U);
  EXPECT_EQ(metrics.time_to_first_token.count, 5U);
  EXPECT_EQ(metrics.inter_token.count, 30U);
  EXPECT_EQ(metrics.requests_running, 0);
  EXPECT_THAT(metrics.ToPrometheus(), HasSubstr("vllm:generation_tokens_total 35"));
}

TEST(Batcher, TraceGetsStepsAndPhases) {
  std::string events;
  {
    const auto batcher =
        NewBatcher(testing::TinyModel(),
                   {.trace = [&](std::string_view event) { events += std::string(event) + "\n"; }});
    batcher->Submit(Endless(3))->Wait();
    EXPECT_TRUE(batcher->Drain().ok());
  }
  EXPECT_THAT(events, HasSubstr("\"ph\":\"X\""));
  EXPECT_THAT(events, HasSubstr("decode"));
}

}  // namespace
}  // namespace codegen
