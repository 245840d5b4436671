// SPDX-License-Identifier: Apache-2.0
//
// One sample of a request on its way through the scheduler.
#ifndef CODEGEN_RUNTIME_SEQUENCE_H_
#define CODEGEN_RUNTIME_SEQUENCE_H_

#include <absl/status/status.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/sampling.h"
#include "codegen/request.h"
#include "kv/paged_memory.h"
#include "sample/penalties.h"

namespace codegen::runtime {

using RequestId = std::uint64_t;  // ascends in order of arrival

// Which sample of which request.
struct SampleId {
  RequestId request = 0;
  int sample = 0;
  auto operator<=>(const SampleId&) const = default;
};

// A request as the scheduler sees it: valid, in token ids, with every default filled in.
struct Job {
  RequestId id = 0;
  std::vector<TokenId> prompt = {};  // at least one
  int new_tokens = 1;                // per sample at most, >= 1; fits the context with the prompt
  int samples = 1;
  backend::Sampling sampling = {};   // of the first sample; `position` and `changes` are filled in
  sample::Penalties penalties = {};  // after the prompt
  std::vector<TokenId> stop_tokens = {};
  std::vector<TokenId> end_of_text = {};  // ids that end it so; empty to go on
  // To score: what comes after each token of the prompt. Their probabilities are wanted, each an
  // event, and nothing is drawn; `new_tokens` is 0 then, and `samples` 1.
  std::vector<TokenId> given = {};
  int priority = 0;
  std::string cache_salt = {};
  Time arrival = {};
  Time first_token_by = Time::max();
  Time done_by = Time::max();
};

// Where a sequence is. Every step that it takes is one function of Scheduler.
enum class Phase {
  kHeld,     // a further sample, until the first has computed the prompt they share
  kWaiting,  // for memory and a place in the batch
  kRunning,
  kParked,  // waits like kWaiting, but is paused
};

struct Sequence {
  SampleId id = {};
  std::shared_ptr<const Job> job = {};

  Phase phase = Phase::kWaiting;
  bool paused = false;               // its consumer lags behind: no tokens until it has caught up
  bool aged = false;                 // it has waited so long that it goes before all priorities
  Time waits_since = {};             // in kWaiting
  Time::duration waited = {};        // in kWaiting, before that
  std::vector<TokenId> tokens = {};  // prompt, and what was drawn
  sample::Penalties penalties = {};  // after those
  int computed = 0;                  // of them, from the first on, those whose keys are in `table`
  kv::BlockTable table = {};
  int place = -1;  // in the plan of the step that runs; -1 if it has none there

  Timeline timeline = {};
  Time last_token = {};
  int cached_tokens = 0;  // of the prompt, found when it first started
  int scored = 0;         // of Job::given, those whose events are out

  bool scores() const { return !job->given.empty(); }
  int pending() const { return static_cast<int>(tokens.size()) - computed; }
  int drawn() const { return static_cast<int>(tokens.size() - job->prompt.size()); }
};

// What happened to a sample, in order.
struct Event {
  // kStart: its first step is being planned; kScored: how likely a given token was.
  enum class Kind { kStart, kToken, kScored, kEnd };
  SampleId id = {};
  Kind kind = Kind::kToken;
  TokenId token = 0;                            // kToken, kScored
  float logprob = 0;                            // the same, if Job::sampling asks for it
  Time time = {};                               // kToken: when it was drawn
  Time::duration since_last = {};               // kToken, but the first of a sample
  FinishReason reason = FinishReason::kLength;  // kEnd
  absl::Status status = {};                     // kEnd
  Timeline timeline = {};
  int cached_tokens = 0;
};

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_SEQUENCE_H_
