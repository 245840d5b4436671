// SPDX-License-Identifier: Apache-2.0
//
// What every session does whatever computes its tokens: one call at a time, checks, cancelling.
#ifndef CODEGEN_API_SESSION_IMPL_H_
#define CODEGEN_API_SESSION_IMPL_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "api/text_output.h"
#include "codegen/model.h"
#include "codegen/session.h"

namespace codegen::api {

class BatcherCore;

class SessionImpl {
 public:
  SessionImpl(const Model& model, int context) : model_(model), context_(context) {}
  virtual ~SessionImpl() = default;

  // For Session; see there.
  absl::StatusOr<Completion> Complete(const Request& request, const TextCallback& on_text);
  absl::StatusOr<Score> ScoreTokens(std::span<const TokenId> ids);
  void Cancel();
  virtual int cached_tokens() const = 0;

  const Model& model() const { return model_; }

 protected:
  // `prompt` fits the context; `request` was checked.
  virtual absl::StatusOr<Completion> Generate(const Request& request,
                                              std::span<const TokenId> prompt,
                                              const TextCallback& on_text) = 0;
  virtual absl::StatusOr<Score> ScoreAll(std::span<const TokenId> ids) = 0;
  // On the thread that cancels; `cancelled` is true already.
  virtual void OnCancel() {}

  // Fills in the perplexity.
  static Score WithPerplexity(Score score);

  bool cancelled() const { return cancel_.load(std::memory_order_relaxed); }
  int context() const { return context_; }

 private:
  class Turn;
  absl::Status CheckFits(const char* field, std::size_t tokens) const;

  const Model model_;
  const int context_;
  std::atomic<bool> busy_ = false;
  std::atomic<bool> cancel_ = false;
};

// Hands text to a session's callback as it becomes certain, until it wants no more.
class Streamed {
 public:
  explicit Streamed(const TextCallback& on_text) : on_text_(on_text) {}

  // Errors: UNKNOWN if the callback threw.
  absl::Status Emit(const std::string& text);
  bool cancelled() const { return cancelled_; }

 private:
  const TextCallback& on_text_;
  bool cancelled_ = false;
};

// A session that computes by itself, in memory of its own. `chunk`: tokens of a prompt in one step.
// Errors: RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<SessionImpl>> MakeOwnSession(const Model& model, int context,
                                                            int chunk);

// A session whose completions and scores are requests of a batcher.
std::unique_ptr<SessionImpl> MakeBatchedSession(std::shared_ptr<BatcherCore> core, int context);

}  // namespace codegen::api

#endif  // CODEGEN_API_SESSION_IMPL_H_
