// SPDX-License-Identifier: Apache-2.0
//
// A request that was accepted, from both sides: what the engine says of it arrives here, becomes
// text on a thread of the delivery, and goes to the host's callbacks or waits until it is fetched.
//
// However a request ends, it ends here, once: by the engine (length, a stop token, a deadline, a
// failure), by its own text (a stop string), or by its callback. Whatever arrives later is ignored.
#ifndef CODEGEN_API_PENDING_REQUEST_H_
#define CODEGEN_API_PENDING_REQUEST_H_

#include <absl/base/thread_annotations.h>
#include <absl/status/status.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/text_output.h"
#include "base/mutex.h"
#include "codegen/batcher.h"
#include "codegen/request.h"
#include "codegen/tokenizer.h"
#include "runtime/delivery.h"
#include "runtime/sequence.h"

namespace codegen::api {

inline double Seconds(Time::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// The way back from a request to its batcher. All may be called from any thread.
class RequestOwner {
 public:
  virtual ~RequestOwner() = default;
  virtual void End(runtime::RequestId request, FinishReason reason,
                   const absl::Status& status) noexcept = 0;
  virtual void Drop(runtime::SampleId id) = 0;
  virtual void Resume(runtime::SampleId id) = 0;
  // The completion is there.
  virtual void OnCompleted(runtime::RequestId request, const Completion& completion) = 0;
  // So is the return of on_done: nothing of the request is left to do.
  virtual void OnDelivered(runtime::RequestId request) = 0;
};

struct PendingRequestOptions {
  runtime::RequestId id = 0;
  int samples = 1;
  int prompt_tokens = 0;
  bool logprobs = false;  // are wanted
  Stop stop = {};
  Callbacks callbacks = {};
  int output_tokens = 1024;  // that a callback may lag behind
};

class PendingRequest final : public runtime::Recipient,
                             public std::enable_shared_from_this<PendingRequest> {
 public:
  PendingRequest(PendingRequestOptions options, const std::optional<Tokenizer>& tokenizer,
                 std::weak_ptr<RequestOwner> owner);

  // For the engine.

  // Takes in what happened. Returns whether the request must be scheduled at the delivery. An event
  // that there is no memory for ends the request.
  bool Post(const runtime::Event& event) noexcept;
  // Whether the consumer of a sample lags behind, so that the sample should pause. Resume follows.
  bool LagsBehind(int sample);

  // For a thread of the delivery.
  void Receive(runtime::Delivery& delivery) noexcept override;

  // For the host; see Handle.
  std::optional<Chunk> NextChunk(Time deadline);
  const Completion* WaitUntil(Time deadline);
  void Cancel();
  void Detach() { detached_.store(true, std::memory_order_relaxed); }
  void Abandon();  // the handle is gone
  bool done() const;
  runtime::RequestId id() const { return options_.id; }
  int samples() const { return options_.samples; }

 private:
  struct Output {
    explicit Output(TextOutput output) : text(std::move(output)) {}
    void AddText(const std::string& piece) {
      sample.text += piece;
      chunk.text += piece;
    }
    TextOutput text;
    Sample sample = {};
    Chunk chunk = {};  // of what Receive has taken and not handed on
    bool ended = false;
  };

  void ReceiveAll(runtime::Delivery& delivery);
  bool TakeMail();
  void GiveUp(runtime::Delivery& delivery);
  void Take(const runtime::Event& event);
  void AddToken(Output& output, const runtime::Event& event);
  void AddScored(Output& output, const runtime::Event& event);
  void EndSample(Output& output, FinishReason reason, const absl::Status& status);
  void EndAll(FinishReason reason, const absl::Status& status);
  void HandOn(Output& output, runtime::Delivery& delivery);
  void CallBack(const Chunk& chunk, runtime::Delivery& delivery);
  void Fail(const absl::Status& status);
  void CatchUp(int sample, int tokens);
  void Queue(Chunk chunk);
  Completion Assemble();
  void Complete(Completion completion, runtime::Delivery& delivery);
  void LeaveHost(const Completion& completion, runtime::Delivery& delivery);

  // Constant after construction, but for the callbacks, which Receive uses and lets go in the end.
  PendingRequestOptions options_;
  const bool streams_;  // to a callback
  const std::weak_ptr<RequestOwner> owner_;

  std::atomic<bool> detached_ = false;

  // Used by Receive alone, which runs on one thread at a time.
  std::vector<Output> outputs_;
  std::vector<runtime::Event> taken_;
  absl::Status status_;
  Timeline timeline_;
  int cached_tokens_ = 0;
  Time last_token_ = {};
  int ended_ = 0;        // samples
  bool silent_ = false;  // the callback wants no more

  mutable base::Mutex mutex_;
  base::Condition changed_;
  std::vector<runtime::Event> mailbox_ ABSL_GUARDED_BY(mutex_);
  bool mail_lost_ ABSL_GUARDED_BY(mutex_) = false;  // there was no memory for an event
  bool scheduled_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<int> lag_ ABSL_GUARDED_BY(mutex_);  // tokens of each sample, not handed on yet
  std::vector<bool> paused_ ABSL_GUARDED_BY(mutex_);
  std::deque<Chunk> chunks_ ABSL_GUARDED_BY(mutex_);  // for Next, at most one of each sample
  Completion completion_ ABSL_GUARDED_BY(mutex_);     // constant once done_
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace codegen::api

#endif  // CODEGEN_API_PENDING_REQUEST_H_
