// SPDX-License-Identifier: Apache-2.0
#include "codegen/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "api/prompt.h"
#include "api/session_impl.h"
#include "base/check.h"
#include "base/no_memory.h"
#include "codegen/batcher.h"

namespace codegen {
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

int ContextOf(const SessionOptions& options, int most) {
  return options.context_tokens == 0 ? most : options.context_tokens;
}

absl::Status MovedFrom() { return absl::FailedPreconditionError("the session was moved from"); }

}  // namespace

absl::StatusOr<Session> Session::Create(const Model& model, const SessionOptions& options) try {
  CODEGEN_RETURN_IF_ERROR(CheckSessionOptions(options, model.info().context));
  const int context = ContextOf(options, model.info().context);
  CODEGEN_ASSIGN_OR_RETURN(
      auto impl, api::MakeOwnSession(model, context, std::min(options.prefill_chunk, context)));
  return Session(std::move(impl));
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory for the session");
}

absl::StatusOr<Session> Session::Create(Batcher& batcher, const SessionOptions& options) try {
  const int most = batcher.context_tokens();
  CODEGEN_RETURN_IF_ERROR(CheckSessionOptions(options, most));
  const int context = ContextOf(options, most);
  return Session(api::MakeBatchedSession(batcher.core(), context));
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory for the session");
}

Session::Session(std::unique_ptr<api::SessionImpl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

absl::StatusOr<Completion> Session::Complete(const Request& request, const TextCallback& on_text) {
  return impl_ ? base::OrNoMemory("no memory for the completion",
                                  [&] { return impl_->Complete(request, on_text); })
               : MovedFrom();
}

absl::StatusOr<Score> Session::ScoreTokens(std::span<const TokenId> token_ids) {
  return impl_ ? base::OrNoMemory("no memory for the score",
                                  [&] { return impl_->ScoreTokens(token_ids); })
               : MovedFrom();
}

absl::StatusOr<Score> Session::ScoreText(std::string_view text, AllowSpecial special) try {
  if (!impl_) return MovedFrom();
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                           api::EncodeText(text, special, impl_->model().tokenizer()));
  return impl_->ScoreTokens(ids);
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory for the score");
}

void Session::Cancel() {
  if (impl_) impl_->Cancel();
}

int Session::cached_tokens() const { return impl_ ? impl_->cached_tokens() : 0; }

}  // namespace codegen
