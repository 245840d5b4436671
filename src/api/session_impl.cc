// SPDX-License-Identifier: Apache-2.0
#include "api/session_impl.h"

#include <fmt/format.h>

#include <cmath>
#include <exception>
#include <numeric>
#include <utility>
#include <vector>

#include "api/model_state.h"
#include "api/prompt.h"
#include "api/request_limits.h"
#include "base/check.h"

namespace codegen::api {

// Holds the session for one call.
class SessionImpl::Turn {
 public:
  explicit Turn(SessionImpl& session)
      : session_(session), taken_(!session.busy_.exchange(true, std::memory_order_acquire)) {
    if (taken_) session_.cancel_.store(false, std::memory_order_relaxed);
  }
  ~Turn() {
    if (taken_) session_.busy_.store(false, std::memory_order_release);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  absl::Status status() const {
    if (taken_) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "the session is busy: one call at a time; make a session per stream");
  }

 private:
  SessionImpl& session_;
  bool taken_;
};

absl::StatusOr<Completion> SessionImpl::Complete(const Request& request,
                                                 const TextCallback& on_text) {
  const Turn turn(*this);
  CODEGEN_RETURN_IF_ERROR(turn.status());
  const Model::State& state = *model_.state();
  CODEGEN_RETURN_IF_ERROR(CheckRequest(request, state.info.vocabulary));
  if (request.n != 1) {
    return absl::InvalidArgumentError(
        fmt::format("n is {}, a session completes 1; a Batcher can do more", request.n));
  }
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<TokenId> prompt,
                           PromptIds(request, state.tokenizer, state.info.vocabulary));
  CODEGEN_RETURN_IF_ERROR(CheckFits("prompt", prompt.size()));
  return Generate(request, prompt, on_text);
}

absl::StatusOr<Score> SessionImpl::ScoreTokens(std::span<const TokenId> ids) {
  const Turn turn(*this);
  CODEGEN_RETURN_IF_ERROR(turn.status());
  CODEGEN_RETURN_IF_ERROR(CheckTokenIds(ids, "token_ids", model_.info().vocabulary));
  CODEGEN_RETURN_IF_ERROR(CheckFits("token_ids", ids.size()));
  return ScoreAll(ids);
}

void SessionImpl::Cancel() {
  cancel_.store(true, std::memory_order_relaxed);
  OnCancel();
}

Score SessionImpl::WithPerplexity(Score score) {
  const double sum = std::accumulate(score.logprobs.begin(), score.logprobs.end(), 0.0);
  if (!score.logprobs.empty())
    score.perplexity = std::exp(-sum / static_cast<double>(score.logprobs.size()));
  return score;
}

absl::Status SessionImpl::CheckFits(const char* field, std::size_t tokens) const {
  if (tokens <= static_cast<std::size_t>(context_)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} has {} tokens, the context holds {}", field, tokens, context_));
}

absl::Status Streamed::Emit(const std::string& text) {
  if (text.empty() || !on_text_ || cancelled_) return absl::OkStatus();
  try {
    cancelled_ = on_text_(text) == Next::kCancel;
  } catch (const std::exception& error) {
    return absl::UnknownError(fmt::format("the text callback threw: {}", error.what()));
  } catch (...) {
    return absl::UnknownError("the text callback threw");
  }
  return absl::OkStatus();
}

}  // namespace codegen::api
