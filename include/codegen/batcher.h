// SPDX-License-Identifier: Apache-2.0
//
// Many requests at a time on one model: a continuous batcher inside the process.
//
//   auto batcher = codegen::Batcher::Create(*model, {.max_batch = 64});
//   auto handle = (*batcher)->Submit({.prompt = "def fib(n):", .max_new_tokens = 128});
//   while (auto chunk = handle->Next()) std::fputs(chunk->text.c_str(), stdout);
#ifndef CODEGEN_BATCHER_H_
#define CODEGEN_BATCHER_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codegen/export.h"
#include "codegen/metrics.h"
#include "codegen/model.h"
#include "codegen/options.h"
#include "codegen/request.h"

namespace codegen::api {
class BatcherCore;
class PendingRequest;
}  // namespace codegen::api

namespace codegen {

// A piece of a completion as soon as it is certain: whole code points, nothing of a stop string.
struct Chunk {
  int sample = 0;                       // which of Request::n
  std::string text = {};                // may be empty: tokens whose text is not certain yet
  std::vector<TokenId> token_ids = {};  // drawn since the last chunk
  std::vector<float> logprobs = {};     // of token_ids, with Request::logprobs
};

// Called on threads of the batcher, one at a time for one request, in order, `on_done` last. They
// may call anything of the library, even destroy the request's handle or the batcher. One that is
// slow or throws hurts its own request alone: that pauses after BatcherOptions::output_tokens, or
// ends with UNKNOWN.
struct Callbacks {
  std::function<Next(const Chunk& chunk)> on_chunk = {};
  std::function<void(const Completion& completion)> on_done = {};
};

// One accepted request. Destroying the handle cancels the request unless it has ended or Detach was
// called. Safe to use from several threads, except moving and destroying; may outlive the Batcher.
class CODEGEN_EXPORT Handle {
 public:
  Handle(Handle&&) noexcept;
  Handle& operator=(Handle&&) noexcept;
  ~Handle();

  // Blocks until there is more of the completion, and returns all there is; nothing once there is
  // no more, or if `deadline` passed first (`done` tells which). Of a request with on_chunk, chunks
  // go there alone.
  std::optional<Chunk> Next(Time deadline = Time::max());

  // Blocks until the request has ended. Returns at once if it has. The completion lives as long as
  // the handle.
  const Completion& Wait();
  // The same, but returns null if the request has not ended by `deadline`.
  const Completion* Wait(Time deadline);

  // Ends the request within one step, with what it has. Any number of times, at any time.
  void Cancel();
  // Lets the request run on when the handle is destroyed.
  void Detach();

  bool done() const;
  std::uint64_t id() const;  // unique within the Batcher, in order of arrival

  explicit Handle(std::shared_ptr<api::PendingRequest> request);  // for the library itself

 private:
  std::shared_ptr<api::PendingRequest> request_;
};

// Whether a Batcher can take work.
struct Health {
  enum class State { kServing, kDraining, kFailed };
  State state = State::kServing;
  absl::Status reason = {};  // why it failed
  // Whether a new Batcher on the same model can be expected to work.
  bool recreate = true;
};

// Runs the requests of any number of threads on one model, in one batch that changes from step to
// step. Results depend on the model and the request alone, to the bit: not on what else runs, on
// memory that was taken away and computed again, or on prefixes found in the cache. (On a GPU that
// takes LoadOptions::deterministic.)
//
// All methods may be called from any thread. The destructor cancels what is left and returns within
// one step and a second; the handles stay valid. It may run inside a callback of this batcher, and
// then does not wait for that callback.
class CODEGEN_EXPORT Batcher {
 public:
  // Takes the memory for keys, values and activations, and starts its threads; requests and their
  // output take theirs as they come. Keeps the model alive. Errors:
  // INVALID_ARGUMENT (options), RESOURCE_EXHAUSTED (memory, threads).
  static absl::StatusOr<std::unique_ptr<Batcher>> Create(const Model& model,
                                                         const BatcherOptions& options = {});
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Never waits for other requests. Encodes the prompt on the calling thread. A request that is
  // accepted ends with exactly one Completion, after its last chunk. Errors: INVALID_ARGUMENT (a
  // field, naming it, its value and its limit; what can never fit into the memory),
  // FAILED_PRECONDITION (text given, but the model has no tokenizer; the engine has failed; a
  // process that was forked), RESOURCE_EXHAUSTED (the queue is full, naming the limit and when to
  // try again; or no memory for the request, without that), DEADLINE_EXCEEDED (too late already, or
  // by Admission::kFeasible), UNAVAILABLE (draining).
  absl::StatusOr<Handle> Submit(Request request, Callbacks callbacks = {});

  // From a RESOURCE_EXHAUSTED of Submit: when to try again, by what the engine has measured.
  static std::optional<std::chrono::milliseconds> RetryAfter(const absl::Status& status);

  // Refuses new requests, waits until all others have ended, and cancels what has not by
  // `deadline`. Errors: DEADLINE_EXCEEDED if something was cancelled.
  absl::Status Drain(Time deadline = Time::max());

  Metrics metrics() const;
  Health health() const;
  const Model& model() const;
  int context_tokens() const;  // the longest prompt and completion together
  const std::shared_ptr<api::BatcherCore>& core() const { return core_; }  // for the library itself

 private:
  explicit Batcher(std::shared_ptr<api::BatcherCore> core);
  std::shared_ptr<api::BatcherCore> core_;
};

}  // namespace codegen

#endif  // CODEGEN_BATCHER_H_
