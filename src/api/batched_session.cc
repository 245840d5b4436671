// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "api/batcher_core.h"
#include "api/session_impl.h"
#include "base/check.h"
#include "base/mutex.h"

namespace codegen::api {
namespace {

// What a session reports as an error; the rest comes with a completion.
bool IsError(const absl::Status& status) {
  return !status.ok() && !absl::IsCancelled(status) && !absl::IsDeadlineExceeded(status);
}

// Keeps its keys and values in the batcher's prefix cache, under a salt of its own unless the
// request has one.
class BatchedSession final : public SessionImpl {
 public:
  BatchedSession(std::shared_ptr<BatcherCore> core, int context)
      : SessionImpl(core->model(), context),
        core_(std::move(core)),
        salt_(fmt::format("\xFFsession {}", core_->NewSession())) {}

  int cached_tokens() const override { return kept_.load(std::memory_order_relaxed); }

 private:
  absl::StatusOr<Completion> Generate(const Request& request, std::span<const TokenId> prompt,
                                      const TextCallback& on_text) override {
    CODEGEN_ASSIGN_OR_RETURN(const auto pending, core_->Submit(ForBatcher(request, prompt), {}));
    Hold(pending);
    const absl::Status status = Stream(*pending, on_text);
    Hold(nullptr);
    Completion completion = *pending->WaitUntil(Time::max());
    CODEGEN_RETURN_IF_ERROR(status);
    if (IsError(completion.status)) return completion.status;
    kept_.store(static_cast<int>(prompt.size()) + completion.usage.completion_tokens,
                std::memory_order_relaxed);
    return completion;
  }

  Request ForBatcher(Request request, std::span<const TokenId> prompt) const {
    request.prompt.clear();
    request.prompt_ids.assign(prompt.begin(), prompt.end());
    request.max_new_tokens =
        std::min(request.max_new_tokens, context() - static_cast<int>(prompt.size()));
    if (request.cache_salt.empty()) request.cache_salt = salt_;
    return request;
  }

  absl::Status Stream(PendingRequest& request, const TextCallback& on_text) {
    Streamed streamed(on_text);
    absl::Status status;
    if (cancelled()) request.Cancel();  // before there was a request
    while (const std::optional<Chunk> chunk = request.NextChunk(Time::max())) {
      if (status.ok()) status = streamed.Emit(chunk->text);
      if (!status.ok() || streamed.cancelled()) request.Cancel();
    }
    return status;
  }

  absl::StatusOr<Score> ScoreAll(std::span<const TokenId> ids) override {
    Score score{.token_ids = {ids.begin(), ids.end()}};
    if (ids.size() < 2) return score;
    CODEGEN_ASSIGN_OR_RETURN(const auto pending, core_->SubmitScore(ids, salt_));
    Hold(pending);
    if (cancelled()) pending->Cancel();  // before there was a request
    const Completion& completion = *pending->WaitUntil(Time::max());
    Hold(nullptr);
    CODEGEN_RETURN_IF_ERROR(completion.status);
    score.logprobs = completion.logprobs;
    return WithPerplexity(std::move(score));
  }

  void OnCancel() override {
    const base::MutexLock lock(mutex_);
    if (running_) running_->Cancel();
  }

  void Hold(std::shared_ptr<PendingRequest> request) {
    const base::MutexLock lock(mutex_);
    running_ = std::move(request);
  }

  const std::shared_ptr<BatcherCore> core_;
  const std::string salt_;
  std::atomic<int> kept_ = 0;

  base::Mutex mutex_;
  std::shared_ptr<PendingRequest> running_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<SessionImpl> MakeBatchedSession(std::shared_ptr<BatcherCore> core, int context) {
  return std::make_unique<BatchedSession>(std::move(core), context);
}

}  // namespace codegen::api
