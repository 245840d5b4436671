// SPDX-License-Identifier: Apache-2.0
#include "codegen/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "api/model_state.h"
#include "api/prompt.h"
#include "api/request_limits.h"
#include "api/text_output.h"
#include "base/check.h"

namespace codegen {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsBetween(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// Rows whose logits a session can want in one step: scoring wants many, each as wide as the
// vocabulary.
constexpr int kScoreRows = 64;

bool IsLate(const Request& request, const Completion& completion, Clock::time_point now) {
  return now >= request.done_by ||
         (completion.token_ids.empty() && now >= request.first_token_by);
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

// Hands text to the session's callback as it becomes certain.
class Streamed {
 public:
  Streamed(const std::optional<Tokenizer>& tokenizer, const Stop& stop, const TextCallback& on_text)
      : output_(tokenizer, stop), on_text_(on_text) {}

  // Returns whether the text has reached a stop string.
  absl::StatusOr<bool> Add(TokenId id) { return Emit(output_.Add(id)); }
  absl::StatusOr<bool> Finish() { return Emit(output_.Finish()); }

  bool cancelled() const { return cancelled_; }
  std::string&& TakeText() { return std::move(text_); }

 private:
  absl::StatusOr<bool> Emit(const api::TextOutput::Result& result) {
    text_ += result.text;
    if (result.text.empty() || !on_text_ || cancelled_) return result.matched;
    try {
      cancelled_ = on_text_(result.text) == Next::kCancel;
    } catch (const std::exception& error) {
      return absl::UnknownError(fmt::format("the text callback threw: {}", error.what()));
    } catch (...) {
      return absl::UnknownError("the text callback threw");
    }
    return result.matched;
  }

  api::TextOutput output_;
  const TextCallback& on_text_;
  std::string text_;
  bool cancelled_ = false;
};

}  // namespace

class Session::Impl {
 public:
  Impl(const Model& model, int context, int chunk, std::unique_ptr<model::Executor> executor)
      : model_(model),
        state_(*model.state()),
        context_(context),
        chunk_(chunk),
        pages_(Pages(context)),
        executor_(std::move(executor)) {
    std::iota(pages_.begin(), pages_.end(), 0);
    positions_.resize(static_cast<std::size_t>(context));
    std::iota(positions_.begin(), positions_.end(), 0);
  }

  static std::vector<std::int32_t> Pages(int context) {
    return std::vector<std::int32_t>(
        static_cast<std::size_t>((context + backend::kPageTokens - 1) / backend::kPageTokens));
  }

  absl::StatusOr<Completion> Complete(const Request& request, const TextCallback& on_text) {
    const Turn turn(*this);
    if (!turn.taken()) return Busy();
    CODEGEN_RETURN_IF_ERROR(api::CheckRequest(request, state_.info.vocabulary));
    if (request.n != 1) return absl::InvalidArgumentError(OneSample(request.n));
    CODEGEN_ASSIGN_OR_RETURN(const std::vector<TokenId> prompt,
                             api::PromptIds(request, state_.tokenizer, state_.info.vocabulary));
    CODEGEN_RETURN_IF_ERROR(CheckFits("prompt", prompt.size()));
    return Generate(request, prompt, on_text);
  }

  absl::StatusOr<Score> ScoreTokens(std::span<const TokenId> ids) {
    const Turn turn(*this);
    if (!turn.taken()) return Busy();
    CODEGEN_RETURN_IF_ERROR(api::CheckTokenIds(ids, "token_ids", state_.info.vocabulary));
    CODEGEN_RETURN_IF_ERROR(CheckFits("token_ids", ids.size()));
    return ScoreAll(ids);
  }

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, AllowSpecial special) const {
    return api::EncodeText(text, special, state_.tokenizer);
  }

  void Cancel() { cancel_.store(true, std::memory_order_relaxed); }
  int cached_tokens() const { return cached_count_.load(std::memory_order_relaxed); }

 private:
  // Holds the session for one call.
  class Turn {
   public:
    explicit Turn(Impl& session)
        : session_(session), taken_(!session.busy_.exchange(true, std::memory_order_acquire)) {
      if (taken_) session_.cancel_.store(false, std::memory_order_relaxed);
    }
    ~Turn() {
      if (taken_) session_.busy_.store(false, std::memory_order_release);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    bool taken() const { return taken_; }

   private:
    Impl& session_;
    bool taken_;
  };

  static std::string OneSample(int n) {
    return fmt::format("n is {}, a session completes 1; a Batcher can do more", n);
  }

  static absl::Status Busy() {
    return absl::FailedPreconditionError(
        "the session is busy: one call at a time; make a session per stream");
  }

  absl::Status CheckFits(const char* field, std::size_t tokens) const {
    if (tokens <= static_cast<std::size_t>(context_)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("{} has {} tokens, the context holds {}", field, tokens, context_));
  }

  bool cancelled() const { return cancel_.load(std::memory_order_relaxed); }

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
  absl::StatusOr<TokenId> StepAndSample(std::span<const TokenId> tokens, const Request& request) {
    const std::int32_t last[] = {static_cast<std::int32_t>(tokens.size()) - 1};
    const backend::Sampling sampling[] = {
        {.temperature = request.temperature,
         .top_k = request.top_k,
         .top_p = request.top_p,
         .seed = request.seed,
         .position = static_cast<std::int32_t>(cached_.size() + tokens.size()),
         .vocabulary = state_.sampled_vocabulary}};
    backend::SampledToken sampled[1];
    CODEGEN_RETURN_IF_ERROR(Step(tokens, last, {.sampling = sampling, .tokens = sampled}));
    if (sampled[0].id >= 0) return sampled[0].id;
    KeepCached(0);
    return absl::InternalError("the model produced logits that are not finite");
  }

  // Computes all of the prompt but what is cached and its last chunk, which the first sample
  // computes. Returns how many prompt tokens are left for that.
  absl::StatusOr<std::size_t> Prefill(std::span<const TokenId> prompt) {
    while (prompt.size() - cached_.size() > static_cast<std::size_t>(chunk_) && !cancelled()) {
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
                                      const TextCallback& on_text) {
    const Clock::time_point begin = Clock::now();
    Completion completion;
    completion.usage.prompt_tokens = static_cast<int>(prompt.size());
    const int room = std::min(request.max_new_tokens, context_ - static_cast<int>(prompt.size()));
    if (room == 0) return completion;
    completion.usage.cached_prompt_tokens = static_cast<int>(ReusePrefix(prompt));
    CODEGEN_ASSIGN_OR_RETURN(const std::size_t left, Prefill(prompt));
    Streamed output(state_.tokenizer, request.stop, on_text);
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
                                      int room, Streamed& output, Completion& completion,
                                      Clock::time_point begin) {
    TokenId token = 0;
    Clock::time_point first = begin;
    while (!cancelled() && !output.cancelled()) {
      if (IsLate(request, completion, Clock::now())) return FinishReason::kDeadline;
      CODEGEN_ASSIGN_OR_RETURN(token, StepAndSample(next, request));
      const Clock::time_point now = Clock::now();
      if (completion.token_ids.empty()) first = now;
      completion.timings = {.prefill_s = SecondsBetween(begin, first),
                            .decode_s = SecondsBetween(first, now)};
      if (Contains(request.stop.tokens, token)) return FinishReason::kStop;
      if (!request.stop.ignore_eos && Contains(state_.end_of_text, token))
        return FinishReason::kEos;
      completion.token_ids.push_back(token);
      CODEGEN_ASSIGN_OR_RETURN(const bool stopped, output.Add(token));
      if (stopped) return FinishReason::kStop;
      if (static_cast<int>(completion.token_ids.size()) == room) return FinishReason::kLength;
      next = std::span(&token, 1);
    }
    return FinishReason::kCancelled;
  }

  absl::StatusOr<Score> ScoreAll(std::span<const TokenId> ids) {
    KeepCached(0);
    Score score{.token_ids = {ids.begin(), ids.end()}};
    const std::size_t vocabulary = static_cast<std::size_t>(state_.info.vocabulary);
    const std::size_t chunk = static_cast<std::size_t>(std::min(chunk_, kScoreRows));
    std::vector<float> logits(std::min(chunk, ids.size()) * vocabulary);
    for (std::size_t at = 0; at + 1 < ids.size(); at = cached_.size()) {
      if (cancelled()) return absl::CancelledError("scoring was cancelled");
      const std::size_t count = std::min(chunk, ids.size() - 1 - at);
      const std::span<float> rows = std::span(logits).first(count * vocabulary);
      CODEGEN_RETURN_IF_ERROR(
          Step(ids.subspan(at, count), std::span(positions_).first(count), {.logits = rows}));
      for (std::size_t i = 0; i < count; ++i) {
        score.logprobs.push_back(
            backend::LogProbability(rows.subspan(i * vocabulary, vocabulary), ids[at + i + 1]));
      }
    }
    return WithPerplexity(std::move(score));
  }

  static absl::StatusOr<Score> WithPerplexity(Score score) {
    const double sum = std::accumulate(score.logprobs.begin(), score.logprobs.end(), 0.0);
    if (std::isnan(sum))
      return absl::InternalError("the model produced logits that are not finite");
    if (!score.logprobs.empty())
      score.perplexity = std::exp(-sum / static_cast<double>(score.logprobs.size()));
    return score;
  }

  // Constant after construction.
  const Model model_;  // keeps state_ alive
  const Model::State& state_;
  const int context_;
  const int chunk_;
  std::vector<std::int32_t> pages_;      // all of the executor's, in order
  std::vector<std::int32_t> positions_;  // 0, 1, 2, ...

  // Used by whoever holds the Turn.
  std::unique_ptr<model::Executor> executor_;
  std::vector<TokenId> cached_;  // the tokens whose keys and values the executor holds

  // From any thread.
  std::atomic<bool> busy_ = false;
  std::atomic<bool> cancel_ = false;
  std::atomic<int> cached_count_ = 0;
};

namespace {

constexpr int kLargestPrefillChunk = 4096;

absl::Status CheckSessionOptions(const SessionOptions& options, int context) {
  if (options.context_tokens < 0 || options.context_tokens > context) {
    return absl::InvalidArgumentError(
        fmt::format("SessionOptions::context_tokens is {}, allowed 0 to {}, the model's context",
                    options.context_tokens, context));
  }
  if (options.prefill_chunk < 1 || options.prefill_chunk > kLargestPrefillChunk) {
    return absl::InvalidArgumentError(
        fmt::format("SessionOptions::prefill_chunk is {}, allowed 1 to {}", options.prefill_chunk,
                    kLargestPrefillChunk));
  }
  return absl::OkStatus();
}

absl::Status MovedFrom() { return absl::FailedPreconditionError("the session was moved from"); }

}  // namespace

absl::StatusOr<Session> Session::Create(const Model& model, const SessionOptions& options) {
  const ModelInfo& info = model.info();
  CODEGEN_RETURN_IF_ERROR(CheckSessionOptions(options, info.context));
  const int context = options.context_tokens == 0 ? info.context : options.context_tokens;
  const int chunk = std::min(options.prefill_chunk, context);
  CODEGEN_ASSIGN_OR_RETURN(std::unique_ptr<model::Executor> executor,
                           model.state()->on_device.model->MakeExecutor(
                               {.pages = static_cast<std::int64_t>(Impl::Pages(context).size()),
                                .rows = chunk,
                                .logit_rows = std::min(chunk, kScoreRows)}));
  return Session(std::make_unique<Impl>(model, context, chunk, std::move(executor)));
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

absl::StatusOr<Completion> Session::Complete(const Request& request, const TextCallback& on_text) {
  return impl_ ? impl_->Complete(request, on_text) : MovedFrom();
}

absl::StatusOr<Score> Session::ScoreTokens(std::span<const TokenId> token_ids) {
  return impl_ ? impl_->ScoreTokens(token_ids) : MovedFrom();
}

absl::StatusOr<Score> Session::ScoreText(std::string_view text, AllowSpecial special) {
  if (!impl_) return MovedFrom();
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, impl_->Encode(text, special));
  return impl_->ScoreTokens(ids);
}

void Session::Cancel() {
  if (impl_) impl_->Cancel();
}

int Session::cached_tokens() const { return impl_ ? impl_->cached_tokens() : 0; }

}  // namespace codegen
