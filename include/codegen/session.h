// SPDX-License-Identifier: Apache-2.0
//
// One sequence: completes and scores text, and keeps the keys and values of what it has seen, so
// that a prompt which begins like the last one costs only its new tokens.
//
//   auto session = codegen::Session::Create(*model);
//   auto completion = session->Complete({.prompt = "def fib(n):"});
//   std::puts(completion->text.c_str());
#ifndef CODEGEN_SESSION_H_
#define CODEGEN_SESSION_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "codegen/export.h"
#include "codegen/model.h"
#include "codegen/options.h"
#include "codegen/request.h"

namespace codegen::api {
class SessionImpl;
}  // namespace codegen::api

namespace codegen {

class Batcher;

// Receives each piece of text as soon as it is certain: whole code points, nothing of a stop
// string. The pieces joined are Completion::text. Called on the thread that called Complete.
using TextCallback = std::function<Next(std::string_view text)>;

// One owner at a time: a session may move between threads, but a call made while another runs
// returns FAILED_PRECONDITION and changes nothing. Cancel and cached_tokens may be called at any
// time from any thread. Different sessions of one model may run at the same time; they share its
// compute threads. A session keeps its model alive. Its results depend on its model and the request
// alone: not on threads, other sessions or what it has cached. (On a GPU that takes
// LoadOptions::deterministic.)
class CODEGEN_EXPORT Session {
 public:
  // Takes the memory for keys, values and activations; a call takes what its text needs.
  // Errors: INVALID_ARGUMENT (options), RESOURCE_EXHAUSTED (memory).
  static absl::StatusOr<Session> Create(const Model& model, const SessionOptions& options = {});

  // A session whose completions and scores run in `batcher`, beside all that runs there: same
  // results, and no memory of its own. When the batcher is gone they fail with UNAVAILABLE. What it
  // has seen is kept in the batcher's prefix cache, as long as nobody else wants the memory, and
  // for this session alone unless its requests have a cache_salt. Of a text that is scored a step
  // takes as many tokens as BatcherOptions::max_batch leaves beside the samples that run; a score
  // counts as a request, without a priority and with BatcherOptions::default_timeout. Both have the
  // errors of Batcher::Submit too, and scoring DEADLINE_EXCEEDED. Errors: INVALID_ARGUMENT
  // (options).
  static absl::StatusOr<Session> Create(Batcher& batcher, const SessionOptions& options = {});

  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Completes a prompt and blocks until it is done; `on_text`, if given, gets the text while it is
  // generated. Errors: INVALID_ARGUMENT (a field of the request, naming it, its value and its
  // limit; a prompt longer than the context, with both numbers), FAILED_PRECONDITION (text given,
  // but the model has no tokenizer; or the session is busy), UNKNOWN (the callback threw), INTERNAL
  // (the model produced NaN, or an error of the GPU), RESOURCE_EXHAUSTED (memory), UNAVAILABLE (the
  // GPU was lost: load the model again). The session stays usable after all others.
  absl::StatusOr<Completion> Complete(const Request& request, const TextCallback& on_text = {});

  // Returns how likely the model finds each token after those before it. At least one token, at
  // most the context. Errors: as Complete.
  absl::StatusOr<Score> ScoreTokens(std::span<const TokenId> token_ids);
  absl::StatusOr<Score> ScoreText(std::string_view text, AllowSpecial special = AllowSpecial::kNo);

  // Ends the running completion within one step, with what it has (FinishReason::kCancelled), or a
  // running score with CANCELLED; does nothing when none runs.
  void Cancel();

  // Tokens whose keys and values are kept; in a batcher, at most.
  int cached_tokens() const;

 private:
  explicit Session(std::unique_ptr<api::SessionImpl> impl);
  std::unique_ptr<api::SessionImpl> impl_;
};

}  // namespace codegen

#endif  // CODEGEN_SESSION_H_
