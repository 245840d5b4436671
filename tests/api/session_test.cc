// SPDX-License-Identifier: Apache-2.0
#include "codegen/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "api/tiny_models.h"

namespace codegen {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<TokenId> kPrompt = {3, 1, 4, 1, 5};

Session NewSession(const Model& model, const SessionOptions& options = {}) {
  absl::StatusOr<Session> session = Session::Create(model, options);
  EXPECT_TRUE(session.ok()) << session.status();
  return *std::move(session);
}

std::vector<TokenId> Greedy(Session& session, const std::vector<TokenId>& prompt, int count) {
  const absl::StatusOr<Completion> completion = session.Complete(
      {.prompt_ids = prompt, .max_new_tokens = count, .stop = {.ignore_eos = true}});
  EXPECT_TRUE(completion.ok()) << completion.status();
  return completion.ok() ? completion->token_ids : std::vector<TokenId>();
}

std::string Message(const absl::StatusOr<Completion>& completion) {
  return std::string(completion.status().message());
}

TEST(Session, CompletesTokenIdsWithoutATokenizer) {
  Session session = NewSession(testing::TinyModel());

  const absl::StatusOr<Completion> completion =
      session.Complete({.prompt_ids = kPrompt, .max_new_tokens = 7, .stop = {.ignore_eos = true}});

  ASSERT_TRUE(completion.ok()) << completion.status();
  EXPECT_EQ(completion->token_ids.size(), 7U);
  EXPECT_EQ(completion->token_ids.front(), 1);  // the largest of TinyCodeGenLogits(4)
  EXPECT_THAT(completion->text, IsEmpty());
  EXPECT_EQ(completion->finish_reason, FinishReason::kLength);
  EXPECT_EQ(completion->usage.prompt_tokens, 5);
  EXPECT_EQ(completion->usage.completion_tokens, 7);
}

TEST(Session, EndsAtEndOfTextUnlessToldToIgnoreIt) {
  Request request{.prompt_ids = kPrompt,
                  .max_new_tokens = 20,
                  .temperature = 1.0F,
                  .seed = 5,
                  .stop = {.ignore_eos = true}};
  Session free = NewSession(testing::TinyModel());
  const std::vector<TokenId> tokens = free.Complete(request)->token_ids;
  // Any of the later tokens but 2, which would be taken for the leftover of published configs.
  const auto later =
      std::find_if(tokens.begin() + 4, tokens.end(), [](TokenId id) { return id != 2; });
  ASSERT_NE(later, tokens.end());
  const TokenId eos = *later;
  const auto first = std::ranges::find(tokens, eos);
  Session session = NewSession(testing::TinyModel(eos));
  EXPECT_EQ(session.Complete(request)->token_ids, tokens);

  request.stop.ignore_eos = false;
  const absl::StatusOr<Completion> completion = session.Complete(request);

  ASSERT_TRUE(completion.ok()) << completion.status();
  EXPECT_EQ(completion->finish_reason, FinishReason::kEos);
  EXPECT_EQ(completion->token_ids, std::vector<TokenId>(tokens.begin(), first));
}

TEST(Session, EndsAtAStopToken) {
  Session session = NewSession(testing::TinyModel());
  const std::vector<TokenId> tokens = Greedy(session, kPrompt, 4);

  const absl::StatusOr<Completion> completion =
      session.Complete({.prompt_ids = kPrompt,
                        .max_new_tokens = 20,
                        .stop = {.tokens = {tokens[0]}, .ignore_eos = true}});

  EXPECT_EQ(completion->finish_reason, FinishReason::kStop);
  EXPECT_THAT(completion->token_ids, IsEmpty());
}

TEST(Session, EndsWhenTheContextIsFull) {
  Session session = NewSession(testing::TinyModel(), {.context_tokens = 9});

  const absl::StatusOr<Completion> some = session.Complete(
      {.prompt_ids = kPrompt, .max_new_tokens = 100, .stop = {.ignore_eos = true}});
  const absl::StatusOr<Completion> none =
      session.Complete({.prompt_ids = std::vector<TokenId>(9, 1)});

  EXPECT_EQ(some->token_ids.size(), 4U);
  EXPECT_EQ(some->finish_reason, FinishReason::kLength);
  EXPECT_THAT(none->token_ids, IsEmpty());
  EXPECT_EQ(none->finish_reason, FinishReason::kLength);
}

TEST(Session, MaxNewTokensZeroGivesAnEmptyCompletion) {
  Session session = NewSession(testing::TinyModel());
  const absl::StatusOr<Completion> completion =
      session.Complete({.prompt_ids = kPrompt, .max_new_tokens = 0});
  EXPECT_THAT(completion->token_ids, IsEmpty());
  EXPECT_EQ(completion->finish_reason, FinishReason::kLength);
}

TEST(Session, ReusesTheCommonPrefixWithoutChangingTheResult) {
  const Model model = testing::TinyModel();
  Session session = NewSession(model);
  std::vector<TokenId> longer = kPrompt;
  for (const TokenId token : Greedy(session, kPrompt, 8)) longer.push_back(token);
  longer.push_back(2);

  const absl::StatusOr<Completion> warm =
      session.Complete({.prompt_ids = longer, .max_new_tokens = 9, .stop = {.ignore_eos = true}});

  EXPECT_EQ(warm->usage.cached_prompt_tokens,
            12);  // five of the prompt, eight drawn, the last of which was not fed
  Session fresh = NewSession(model);
  EXPECT_EQ(warm->token_ids, Greedy(fresh, longer, 9));
  EXPECT_EQ(Greedy(session, kPrompt, 8),
            Greedy(fresh, kPrompt, 8));  // and back to a prefix of what is cached
}

TEST(Session, ResultsDoNotDependOnChunksOrThreads) {
  std::vector<TokenId> prompt;
  for (int i = 0; i < 40; ++i) prompt.push_back(i * 7 % 13);
  Session reference = NewSession(testing::TinyModel());
  const std::vector<TokenId> expected = Greedy(reference, prompt, 20);
  for (const int chunk : {1, 3, 16, 17, 64}) {
    Session session = NewSession(testing::TinyModel(12, 3), {.prefill_chunk = chunk});
    EXPECT_EQ(Greedy(session, prompt, 20), expected) << "chunk " << chunk;
  }
}

TEST(Session, SamplesTheSameTokensForTheSameSeed) {
  const Model model = testing::TinyModel();
  Session session = NewSession(model);
  Session other = NewSession(model, {.prefill_chunk = 2});
  Request request{.prompt_ids = kPrompt,
                  .max_new_tokens = 30,
                  .temperature = 1.0F,
                  .seed = 5,
                  .stop = {.ignore_eos = true}};

  const std::vector<TokenId> first = session.Complete(request)->token_ids;
  const std::vector<TokenId> again = session.Complete(request)->token_ids;
  const std::vector<TokenId> elsewhere = other.Complete(request)->token_ids;
  request.seed = 6;
  const std::vector<TokenId> different = session.Complete(request)->token_ids;

  EXPECT_EQ(first, again);
  EXPECT_EQ(first, elsewhere);
  EXPECT_NE(first, different);
}

TEST(Session, TopKOfOneIsGreedy) {
  Session session = NewSession(testing::TinyModel());
  const absl::StatusOr<Completion> completion = session.Complete({.prompt_ids = kPrompt,
                                                                  .max_new_tokens = 10,
                                                                  .temperature = 2.0F,
                                                                  .top_k = 1,
                                                                  .stop = {.ignore_eos = true}});
  EXPECT_EQ(completion->token_ids, Greedy(session, kPrompt, 10));
}

TEST(Session, StreamsExactlyTheText) {
  Session session = NewSession(testing::ShippedTinyModel());
  std::string streamed;

  const absl::StatusOr<Completion> completion = session.Complete(
      {.prompt = "def add(a, b):\n", .max_new_tokens = 40}, [&](std::string_view piece) {
        streamed += piece;
        return Next::kContinue;
      });

  ASSERT_TRUE(completion.ok()) << completion.status();
  EXPECT_FALSE(completion->text.empty());
  EXPECT_EQ(streamed, completion->text);
}

// Every substring of the text as a stop string, so that stops begin and end inside tokens and
// across them.
TEST(Session, EndsBeforeAStopStringWhereverItFalls) {
  Session session = NewSession(testing::ShippedTinyModel());
  const Request request{
      .prompt = "def add(a, b):\n", .max_new_tokens = 24, .stop = {.ignore_eos = true}};
  const std::string text = session.Complete(request)->text;
  ASSERT_GT(text.size(), 12U);
  for (std::size_t at = 0; at + 7 < text.size(); at += 3) {
    Request stopped = request;
    stopped.stop.strings = {text.substr(at, 7)};
    std::string streamed;

    const absl::StatusOr<Completion> completion =
        session.Complete(stopped, [&](std::string_view piece) {
          streamed += piece;
          return Next::kContinue;
        });

    ASSERT_TRUE(completion.ok()) << completion.status();
    EXPECT_EQ(completion->text, text.substr(0, text.find(stopped.stop.strings[0])));
    EXPECT_EQ(streamed, completion->text);
    EXPECT_EQ(completion->finish_reason, FinishReason::kStop);
  }
}

TEST(Session, ReleasesHeldBackTextThatNeverBecameAStop) {
  Session session = NewSession(testing::ShippedTinyModel());
  const Request request{
      .prompt = "def add(a, b):\n", .max_new_tokens = 12, .stop = {.ignore_eos = true}};
  const std::string text = session.Complete(request)->text;
  Request held = request;
  held.stop.strings = {text.substr(text.size() - 5) + "\x01never"};

  EXPECT_EQ(session.Complete(held)->text, text);
}

// "bc" ends the text although "abcd" began before it and might still have come.
TEST(Session, FindsAStopInsideALongerOneThatFails) {
  Session session = NewSession(testing::ShippedTinyModel());
  const Request request{
      .prompt = "def add(a, b):\n", .max_new_tokens = 12, .stop = {.ignore_eos = true}};
  const std::string text = session.Complete(request)->text;
  Request stopped = request;
  stopped.stop.strings = {text.substr(text.size() - 5) + "\x01never", text.substr(text.size() - 3)};

  const absl::StatusOr<Completion> completion = session.Complete(stopped);

  EXPECT_EQ(completion->text, text.substr(0, text.find(stopped.stop.strings[1])));
  EXPECT_EQ(completion->finish_reason, FinishReason::kStop);
}

TEST(Session, NeverSamplesIdsTheTokenizerDoesNotKnow) {
  Session session = NewSession(testing::ShippedTinyModel());
  const int known = testing::ShippedTinyModel().tokenizer()->size();
  const absl::StatusOr<Completion> completion = session.Complete({.prompt = "x",
                                                                  .max_new_tokens = 200,
                                                                  .temperature = 100.0F,
                                                                  .seed = 3,
                                                                  .stop = {.ignore_eos = true}});
  for (const TokenId id : completion->token_ids) EXPECT_LT(id, known);
}

TEST(Session, StopsWhenTheCallbackSaysSo) {
  Session session = NewSession(testing::ShippedTinyModel());
  int calls = 0;
  const absl::StatusOr<Completion> completion = session.Complete(
      {.prompt = "def add(a, b):\n", .max_new_tokens = 100, .stop = {.ignore_eos = true}},
      [&](std::string_view) {
        ++calls;
        return Next::kCancel;
      });
  EXPECT_EQ(completion->finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(calls, 1);
}

TEST(Session, CancelEndsTheRunningCompletionOnly) {
  Session session = NewSession(testing::ShippedTinyModel());
  const Request request{
      .prompt = "def add(a, b):\n", .max_new_tokens = 30, .stop = {.ignore_eos = true}};
  session.Cancel();  // nothing runs: no effect
  const std::string whole = session.Complete(request)->text;

  const absl::StatusOr<Completion> cut = session.Complete(request, [&](std::string_view) {
    std::thread([&] { session.Cancel(); }).join();
    return Next::kContinue;
  });

  EXPECT_EQ(cut->finish_reason, FinishReason::kCancelled);
  EXPECT_LT(cut->token_ids.size(), 30U);
  EXPECT_EQ(session.Complete(request)->text, whole);
}

TEST(Session, RefusesASecondCallWhileOneRuns) {
  Session session = NewSession(testing::ShippedTinyModel());
  absl::StatusCode inner = absl::StatusCode::kOk;
  const Request request{
      .prompt = "def add(a, b):\n", .max_new_tokens = 5, .stop = {.ignore_eos = true}};

  const absl::StatusOr<Completion> outer = session.Complete(request, [&](std::string_view) {
    inner = session.Complete(request).status().code();
    return Next::kContinue;
  });

  EXPECT_EQ(inner, absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(outer->token_ids.size(), 5U);
}

TEST(Session, SurvivesACallbackThatThrows) {
  Session session = NewSession(testing::ShippedTinyModel());
  const Request request{
      .prompt = "def add(a, b):\n", .max_new_tokens = 9, .stop = {.ignore_eos = true}};
  const std::string expected = session.Complete(request)->text;

  const absl::StatusOr<Completion> thrown = session.Complete(
      request, [](std::string_view) -> Next { throw std::runtime_error("host bug"); });

  EXPECT_EQ(thrown.status().code(), absl::StatusCode::kUnknown);
  EXPECT_THAT(Message(thrown), HasSubstr("host bug"));
  EXPECT_EQ(session.Complete(request)->text, expected);
}

TEST(Session, ManySessionsOfOneModelRunAtOnce) {
  const Model model = testing::TinyModel(12, 2);
  Session alone = NewSession(model);
  const std::vector<TokenId> expected = Greedy(alone, kPrompt, 40);
  std::vector<std::vector<TokenId>> found(4);
  std::vector<std::thread> threads;
  for (std::vector<TokenId>& tokens : found) {
    threads.emplace_back([&model, &tokens] {
      Session session = NewSession(model);
      tokens = Greedy(session, kPrompt, 40);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<TokenId>& tokens : found) EXPECT_EQ(tokens, expected);
}

TEST(Session, OutlivesTheModelObjectItCameFrom) {
  auto model = std::make_unique<Model>(testing::TinyModel());
  Session session = NewSession(*model);
  model.reset();
  EXPECT_EQ(Greedy(session, kPrompt, 3).size(), 3U);
}

TEST(Session, ScoresAgreeWithGreedyChoices) {
  const Model model = testing::TinyModel();
  Session session = NewSession(model);
  std::vector<TokenId> ids = kPrompt;
  const std::vector<TokenId> drawn = Greedy(session, kPrompt, 1);
  ids.push_back(drawn[0]);

  const absl::StatusOr<Score> score = session.ScoreTokens(ids);

  ASSERT_TRUE(score.ok()) << score.status();
  ASSERT_EQ(score->logprobs.size(), 5U);
  double sum = 0;  // of exp(logit), from the known logits after the prompt
  const std::vector<double> logits = testing::TinyCodeGenLogits(4);
  for (const double logit : logits) sum += std::exp(logit);
  EXPECT_NEAR(score->logprobs[4], logits[static_cast<std::size_t>(drawn[0])] - std::log(sum), 1e-5);
  double total = 0;
  for (const float logprob : score->logprobs) total += logprob;
  EXPECT_NEAR(score->perplexity, std::exp(-total / 5), 1e-6);
}

TEST(Session, SaysHowLikelyTheTokensWereThatItDrew) {
  Session session = NewSession(testing::TinyModel());
  Request request{.prompt_ids = kPrompt,
                  .max_new_tokens = 6,
                  .temperature = 2,
                  .top_k = 9,
                  .stop = {.ignore_eos = true}};
  EXPECT_THAT(session.Complete(request)->logprobs, IsEmpty());
  request.logprobs = true;

  const Completion completion = *session.Complete(request);

  ASSERT_EQ(completion.logprobs.size(), 6U);
  std::vector<TokenId> ids = kPrompt;
  ids.insert(ids.end(), completion.token_ids.begin(), completion.token_ids.end());
  const Score score = *session.ScoreTokens(ids);
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_NEAR(completion.logprobs[i], score.logprobs[kPrompt.size() - 1 + i], 1e-5);
}

// What changes a logit by a sum can be foreseen from log-probabilities alone.
TEST(Session, TakesTheMostLikelyTokenAfterPenaltiesAndBias) {
  Session session = NewSession(testing::TinyModel());
  const Request request{.prompt_ids = kPrompt,
                        .max_new_tokens = 8,
                        .frequency_penalty = 0.5F,
                        .presence_penalty = 0.25F,
                        .logit_bias = {{0, -100}, {5, 0.3F}},
                        .stop = {.ignore_eos = true}};
  std::vector<TokenId> ids = kPrompt;
  std::array<float, 13> changes{};
  changes[0] = -100;
  changes[5] = 0.3F;
  std::array<int, 13> counts{};
  for (int i = 0; i < request.max_new_tokens; ++i) {
    std::array<float, 13> likely{};
    for (std::size_t id = 0; id < likely.size(); ++id) {
      ids.push_back(static_cast<TokenId>(id));
      likely[id] = session.ScoreTokens(ids)->logprobs.back() + changes[id];
      ids.pop_back();
    }
    const auto best = static_cast<std::size_t>(std::ranges::max_element(likely) - likely.begin());
    ids.push_back(static_cast<TokenId>(best));
    changes[best] -= 0.5F + (counts[best]++ == 0 ? 0.25F : 0.0F);
  }
  ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kPrompt.size()));

  EXPECT_EQ(session.Complete(request)->token_ids, ids);
  EXPECT_NE(Greedy(session, kPrompt, 8), ids);
}

TEST(Session, DividesTheLogitsOfTokensOfThePrompt) {
  Session session = NewSession(testing::TinyModel());
  std::vector<double> logits = testing::TinyCodeGenLogits(4);
  for (const TokenId id : std::set<TokenId>(kPrompt.begin(), kPrompt.end())) {
    double& logit = logits[static_cast<std::size_t>(id)];
    logit = logit > 0 ? logit / 100 : logit * 100;
  }
  const auto best = static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());

  const Completion completion = *session.Complete({.prompt_ids = kPrompt,
                                                   .max_new_tokens = 1,
                                                   .repetition_penalty = 100,
                                                   .stop = {.ignore_eos = true}});

  EXPECT_EQ(completion.token_ids, std::vector<TokenId>{best});
}

TEST(Session, ScoresOneTokenAsPerplexityOne) {
  Session session = NewSession(testing::TinyModel());
  const absl::StatusOr<Score> score = session.ScoreTokens(std::vector<TokenId>{3});
  EXPECT_THAT(score->logprobs, IsEmpty());
  EXPECT_EQ(score->perplexity, 1);
}

TEST(Session, RefusesAPromptLongerThanTheContextWithBothNumbers) {
  Session session = NewSession(testing::TinyModel());
  const absl::StatusOr<Completion> completion =
      session.Complete({.prompt_ids = std::vector<TokenId>(65, 1)});
  EXPECT_EQ(completion.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(completion), HasSubstr("prompt has 65 tokens, the context holds 64"));
}

// A request that changes one field of a good one, and what the error names.
struct Bad {
  std::string names;
  std::function<void(Request&)> change;
};

TEST(Session, RefusesEveryFieldOutOfRange) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<Bad> bad = {
      {"prompt is empty", [](Request& r) { r.prompt_ids.clear(); }},
      {"prompt and prompt_ids", [](Request& r) { r.prompt = "x"; }},
      {"prompt_ids[1] is 13", [](Request& r) { r.prompt_ids[1] = 13; }},
      {"prompt_ids[0] is -1", [](Request& r) { r.prompt_ids[0] = -1; }},
      {"max_new_tokens is -1", [](Request& r) { r.max_new_tokens = -1; }},
      {"temperature is -0.1", [](Request& r) { r.temperature = -0.1F; }},
      {"temperature is nan", [=](Request& r) { r.temperature = nan; }},
      {"temperature is inf", [=](Request& r) { r.temperature = infinity; }},
      {"temperature is 100.5", [](Request& r) { r.temperature = 100.5F; }},
      {"top_k is -1", [](Request& r) { r.top_k = -1; }},
      {"top_p is 0", [](Request& r) { r.top_p = 0; }},
      {"top_p is 1.5", [](Request& r) { r.top_p = 1.5F; }},
      {"top_p is nan", [=](Request& r) { r.top_p = nan; }},
      {"min_p is -0.5", [](Request& r) { r.min_p = -0.5F; }},
      {"min_p is 1.5", [](Request& r) { r.min_p = 1.5F; }},
      {"min_p is nan", [=](Request& r) { r.min_p = nan; }},
      {"repetition_penalty is 0, allowed 0.01 to 100",
       [](Request& r) { r.repetition_penalty = 0; }},
      {"repetition_penalty is 101", [](Request& r) { r.repetition_penalty = 101; }},
      {"repetition_penalty is nan", [=](Request& r) { r.repetition_penalty = nan; }},
      {"frequency_penalty is 2.5, allowed -2 to 2", [](Request& r) { r.frequency_penalty = 2.5F; }},
      {"frequency_penalty is nan", [=](Request& r) { r.frequency_penalty = nan; }},
      {"presence_penalty is -2.5, allowed -2 to 2", [](Request& r) { r.presence_penalty = -2.5F; }},
      {"presence_penalty is -inf", [=](Request& r) { r.presence_penalty = -infinity; }},
      {"logit_bias[1].token is 13",
       [](Request& r) {
         r.logit_bias = {{3, 1}, {13, 1}};
       }},
      {"logit_bias[0].token is -1",
       [](Request& r) {
         r.logit_bias = {{-1, 1}};
       }},
      {"logit_bias[0].bias is 100.5, allowed -100 to 100",
       [](Request& r) {
         r.logit_bias = {{3, 100.5F}};
       }},
      {"logit_bias[0].bias is nan",
       [=](Request& r) {
         r.logit_bias = {{3, nan}};
       }},
      {"logit_bias[2].token is 3, which has a bias already",
       [](Request& r) {
         r.logit_bias = {{3, 1}, {4, 1}, {3, 1}};
       }},
      {"logit_bias has 513 entries, limit 512",
       [](Request& r) {
         r.logit_bias.assign(513, {3, 1});
       }},
      {"stop.strings[0] is empty", [](Request& r) { r.stop.strings = {""}; }},
      {"stop.strings has 65 entries, limit 64", [](Request& r) { r.stop.strings.assign(65, "x"); }},
      {"stop.strings[0] has 1025 bytes, limit 1024",
       [](Request& r) { r.stop.strings = {std::string(1025, 'x')}; }},
      {"stop.strings[0] is not valid UTF-8", [](Request& r) { r.stop.strings = {"\xff"}; }},
      {"stop.tokens[0] is 13", [](Request& r) { r.stop.tokens = {13}; }},
      {"stop.tokens has 1025 entries", [](Request& r) { r.stop.tokens.assign(1025, 1); }},
  };
  Session session = NewSession(testing::TinyModel());
  const std::vector<TokenId> expected = Greedy(session, kPrompt, 5);
  for (const Bad& one : bad) {
    Request request{.prompt_ids = kPrompt, .max_new_tokens = 5, .stop = {.ignore_eos = true}};
    one.change(request);
    const absl::StatusOr<Completion> completion = session.Complete(request);
    EXPECT_EQ(completion.status().code(), absl::StatusCode::kInvalidArgument) << one.names;
    EXPECT_THAT(Message(completion), HasSubstr(one.names));
    EXPECT_EQ(Greedy(session, kPrompt, 5), expected);
  }
}

TEST(Session, AcceptsEveryFieldAtItsLimit) {
  Session session = NewSession(testing::TinyModel());
  const Request request{.prompt_ids = std::vector<TokenId>(60, 12),
                        .max_new_tokens = std::numeric_limits<int>::max(),
                        .temperature = 100.0F,
                        .top_k = std::numeric_limits<int>::max(),
                        .top_p = std::numeric_limits<float>::min(),
                        .min_p = 1.0F,
                        .repetition_penalty = 100.0F,
                        .frequency_penalty = -2.0F,
                        .presence_penalty = 2.0F,
                        .logit_bias = {{0, -100.0F}, {12, 100.0F}},
                        .seed = std::numeric_limits<std::uint64_t>::max(),
                        .stop = {.strings = std::vector<std::string>(64, std::string(1024, 'x')),
                                 .tokens = std::vector<TokenId>(1024, 0)}};
  EXPECT_TRUE(session.Complete(request).ok());
}

TEST(Session, NeedsATokenizerForText) {
  Session session = NewSession(testing::TinyModel());
  EXPECT_EQ(session.Complete({.prompt = "x"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session.ScoreText("x").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Session, RefusesTextThatIsNotUtf8) {
  Session session = NewSession(testing::ShippedTinyModel());
  EXPECT_EQ(session.Complete({.prompt = "abc\xff"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Session, UserTextDoesNotBecomeControlTokens) {
  Session session = NewSession(testing::ShippedTinyModel());
  const TokenId eos = *testing::ShippedTinyModel().tokenizer()->end_of_text();
  const std::vector<TokenId> plain = session.ScoreText("a<|endoftext|>b")->token_ids;
  const std::vector<TokenId> special =
      session.ScoreText("a<|endoftext|>b", AllowSpecial::kYes)->token_ids;
  EXPECT_EQ(std::ranges::count(plain, eos), 0);
  EXPECT_EQ(std::ranges::count(special, eos), 1);
}

TEST(Session, RefusesOptionsOutOfRange) {
  const Model model = testing::TinyModel();
  for (const SessionOptions& options :
       {SessionOptions{.context_tokens = 65}, SessionOptions{.context_tokens = -1},
        SessionOptions{.prefill_chunk = 0}, SessionOptions{.prefill_chunk = 4097}}) {
    EXPECT_EQ(Session::Create(model, options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(Session, SaysThatItWasMovedFrom) {
  Session session = NewSession(testing::TinyModel());
  Session taken = std::move(session);
  EXPECT_EQ(session.Complete({.prompt_ids = kPrompt}).status().code(),
            absl::StatusCode::kFailedPrecondition);  // NOLINT
  EXPECT_TRUE(taken.Complete({.prompt_ids = kPrompt}).ok());
}

}  // namespace
}  // namespace codegen
