// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "api/model_state.h"
#include "api/session_impl.h"
#include "base/check.h"
#include "sample/penalties.h"

namespace codegen::api {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsBetween(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// Rows whose logits a session can want in one step: scoring wants many, each as wide as the
// vocabulary.
constexpr int kScoreRows = 64;

bool IsLate(const Request& request, const Completion& completion, Clock::time_point now) {
  return now >= request.done_by || (completion.token_ids.empty() && now >= request.first_token_by);
}

// Why a completion is not whole.
absl::Status StatusOf(FinishReason reason) {
  if (reason == FinishReason::kCancelled) return absl::CancelledError("cancelled by the host");
  if (reason == FinishReason::kDeadline)
    return absl::DeadlineExceededError("first_token_by or done_by has passed");
  return absl::OkStatus();
}

bool Contains(const std::vector<TokenId>& ids, TokenId id) {
  return std::ranges::find(ids, id) != ids.end();
}

// A completion's text on its way to the callback.
class Output {
 public:
  Output(const std::optional<Tokenizer>& tokenizer, const Stop& stop, const TextCallback& on_text)
      : output_(tokenizer, stop), streamed_(on_text) {}

  // Returns whether the text has reached a stop string.
  absl::StatusOr<bool> Add(TokenId id) { return Emit(output_.Add(id)); }
  absl::StatusOr<bool> Finish() { return Emit(output_.Finish()); }

  bool cancelled() const { return streamed_.cancelled(); }
  std::string&& TakeText() { return std::move(text_); }

 private:
  absl::StatusOr<bool> Emit(const TextOutput::Result& result) {
    text_ += result.text;
    CODEGEN_RETURN_IF_ERROR(streamed_.Emit(result.text));
    return result.matched;
  }

  TextOutput output_;
  Streamed streamed_;
  std::string text_;
};

std::int64_t Pages(int context) {
  return (context + backend::kPageTokens - 1) / backend::kPageTokens;
}

class OwnSession final : public SessionImpl {
 public:
  OwnSession(const Model& model, int context, int chunk, std::unique_ptr<model::Executor> executor)
      : SessionImpl(model, context),
        state_(*model.state()),
        chunk_(chunk),
        pages_(static_cast<std::size_t>(Pages(context))),
        executor_(std::move(executor)) {
    std::iota(pages_.begin(), pages_.end(), 0);
    positions_.resize(static_cast<std::size_t>(context));
    std::iota(positions_.begin(), positions_.end(), 0);
  }

  int cached_tokens() const override { return cached_count_.load(std::memory_order_relaxed); }

 private:
  // Forgets all but the first `count` cached tokens.
  void KeepCached(std::size_t count) {
    cached_.resize(count);
    cached_count_.store(static_cast<int>(count), std::memory_order_relaxed);
  }

  // Computes the next tokens of the sequence. `logit_rows` index `tokens`.
  absl::Status Step(std::span<const TokenId> tokens, std::span<const std::int32_t> logit_rows,
                    const model::StepOutput& output) {
    const std::size_t begin = cached_.size();
    const std::int32_t first_row[] = {0, static_cast<std::int32_t>(tokens.size())};
    const std::int32_t first_page[] = {0, static_cast<std::int32_t>(pages_.size())};
    CODEGEN_RETURN_IF_ERROR(
        executor_->Step({.tokens = tokens,
                         .positions = std::span(positions_).subspan(begin, tokens.size()),
                         .first_row = first_row,
                         .first_page = first_page,
                         .pages = pages_,
                         .logit_rows = logit_rows},
                        output));
    cached_.insert(cached_.end(), tokens.begin(), tokens.end());
    cached_count_.store(static_cast<int>(cached_.size()), std::memory_order_relaxed);
    return absl::OkStatus();
  }

  // Computes `tokens` and draws the token after them.
  absl::StatusOr<backend::SampledToken> StepAndSample(std::span<const TokenId> tokens,
                                                      const Request& request) {
    const std::int32_t last[] = {static_cast<std::int32_t>(tokens.size()) - 1};
    const backend::Sampling sampling[] = {
        {.temperature = request.temperature,
         .top_k = request.top_k,
         .top_p = request.top_p,
         .min_p = request.min_p,
         .seed = request.seed,
         .position = static_cast<std::int32_t>(cached_.size() + tokens.size()),
         .vocabulary = state_.sampled_vocabulary,
         .logprob = request.logprobs,
         .changes = penalties_.changes()}};
    backend::SampledToken sampled[1];
    CODEGEN_RETURN_IF_ERROR(Step(tokens, last, {.sampling = sampling, .tokens = sampled}));
    if (sampled[0].id >= 0) return sampled[0];
    KeepCached(0);
    return absl::InternalError("the model produced logits that are not finite");
  }

  // Computes all of the prompt but what is cached and its last chunk, which the first sample
  // computes. Returns how many prompt tokens are left for that. Leaves off when `by` has passed.
  absl::StatusOr<std::size_t> Prefill(std::span<const TokenId> prompt, Time by) {
    while (prompt.size() - cached_.size() > static_cast<std::size_t>(chunk_) && !cancelled() &&
           Clock::now() < by) {
      CODEGEN_RETURN_IF_ERROR(
          Step(prompt.subspan(cached_.size(), static_cast<std::size_t>(chunk_)), {}, {}));
    }
    return prompt.size() - cached_.size();
  }

  // Keeps what is cached of `prompt`, except its last token, whose logits are wanted. Returns how
  // much that is.
  std::size_t ReusePrefix(std::span<const TokenId> prompt) {
    const auto [mismatch, unused] = std::ranges::mismatch(cached_, prompt);
    KeepCached(std::min(static_cast<std::size_t>(mismatch - cached_.begin()), prompt.size() - 1));
    return cached_.size();
  }

  absl::StatusOr<Completion> Generate(const Request& request, std::span<const TokenId> prompt,
                                      const TextCallback& on_text) override {
    const Clock::time_point begin = Clock::now();
    Completion completion;
    completion.usage.prompt_tokens = static_cast<int>(prompt.size());
    const int room = std::min(request.max_new_tokens, context() - static_cast<int>(prompt.size()));
    if (room == 0) return completion;
    penalties_ = sample::Penalties(request, prompt, state_.sampled_vocabulary);
    completion.usage.cached_prompt_tokens = static_cast<int>(ReusePrefix(prompt));
    CODEGEN_ASSIGN_OR_RETURN(const std::size_t left,
                             Prefill(prompt, std::min(request.first_token_by, request.done_by)));
    Output output(state_.tokenizer, request.stop, on_text);
    CODEGEN_ASSIGN_OR_RETURN(completion.finish_reason,
                             Decode(request, prompt.last(left), room, output, completion, begin));
    CODEGEN_ASSIGN_OR_RETURN(const bool stopped, output.Finish());
    if (stopped) completion.finish_reason = FinishReason::kStop;
    completion.status = StatusOf(completion.finish_reason);
    completion.text = output.TakeText();
    completion.usage.completion_tokens = static_cast<int>(completion.token_ids.size());
    return completion;
  }

  // Draws tokens until something ends the completion, and says what did.
  absl::StatusOr<FinishReason> Decode(const Request& request, std::span<const TokenId> next,
                                      int room, Output& output, Completion& completion,
                                      Clock::time_point begin) {
    TokenId token = 0;
    Clock::time_point first = begin;
    while (!cancelled() && !output.cancelled()) {
      if (IsLate(request, completion, Clock::now())) return FinishReason::kDeadline;
      CODEGEN_ASSIGN_OR_RETURN(const backend::SampledToken sampled, StepAndSample(next, request));
      token = sampled.id;
      const Clock::time_point now = Clock::now();
      if (completion.token_ids.empty()) first = now;
      completion.timings = {.prefill_s = SecondsBetween(begin, first),
                            .decode_s = SecondsBetween(first, now)};
      if (Contains(request.stop.tokens, token)) return FinishReason::kStop;
      if (!request.stop.ignore_eos && Contains(state_.end_of_text, token))
        return FinishReason::kEos;
      completion.token_ids.push_back(token);
      penalties_.Take(token);
      if (request.logprobs) completion.logprobs.push_back(sampled.logprob);
      CODEGEN_ASSIGN_OR_RETURN(const bool stopped, output.Add(token));
      if (stopped) return FinishReason::kStop;
      if (static_cast<int>(completion.token_ids.size()) == room) return FinishReason::kLength;
      next = std::span(&token, 1);
    }
    return FinishReason::kCancelled;
  }

  absl::StatusOr<Score> ScoreAll(std::span<const TokenId> ids) override {
    KeepCached(0);
    Score score{.token_ids = {ids.begin(), ids.end()}};
    const std::size_t chunk = static_cast<std::size_t>(std::min(chunk_, kScoreRows));
    std::vector<backend::SampledToken> tokens(std::min(chunk, ids.size()));
    std::vector<backend::Sampling> sampling(
        tokens.size(), {.vocabulary = state_.info.vocabulary, .logprob = true});
    for (std::size_t at = 0; at + 1 < ids.size(); at = cached_.size()) {
      if (cancelled()) return absl::CancelledError("scoring was cancelled");
      const std::size_t count = std::min(chunk, ids.size() - 1 - at);
      for (std::size_t i = 0; i < count; ++i) sampling[i].given = ids[at + i + 1];
      const auto scored = std::span(tokens).first(count);
      CODEGEN_RETURN_IF_ERROR(
          Step(ids.subspan(at, count), std::span(positions_).first(count),
               {.sampling = std::span(sampling).first(count), .tokens = scored}));
      for (const backend::SampledToken& token : scored) {
        if (token.id < 0)
          return absl::InternalError("the model produced logits that are not finite");
        score.logprobs.push_back(token.logprob);
      }
    }
    return WithPerplexity(std::move(score));
  }

  // Constant after construction.
  const Model::State& state_;
  const int chunk_;
  std::vector<std::int32_t> pages_;      // all of the executor's, in order
  std::vector<std::int32_t> positions_;  // 0, 1, 2, ...

  // Used by whoever holds the Turn.
  std::unique_ptr<model::Executor> executor_;
  std::vector<TokenId> cached_;  // the tokens whose keys and values the executor holds
  sample::Penalties penalties_;  // of the completion under way

  std::atomic<int> cached_count_ = 0;  // its size, for any thread
};

}  // namespace

absl::StatusOr<std::unique_ptr<SessionImpl>> MakeOwnSession(const Model& model, int context,
                                                            int chunk) {
  CODEGEN_ASSIGN_OR_RETURN(
      std::unique_ptr<model::Executor> executor,
      model.state()->on_device.model->MakeExecutor(
          {.pages = Pages(context), .rows = chunk, .logit_rows = std::min(chunk, kScoreRows)}));
  return std::make_unique<OwnSession>(model, context, chunk, std::move(executor));
}

}  // namespace codegen::api
