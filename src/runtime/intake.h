// SPDX-License-Identifier: Apache-2.0
//
// What waits before an engine, and whether one more may join: bounded in requests and bytes, and,
// where deadlines are checked at the door, only for those that can make them by what the engine's
// steps have cost so far.
#ifndef CODEGEN_RUNTIME_INTAKE_H_
#define CODEGEN_RUNTIME_INTAKE_H_

#include <absl/status/status.h>

#include <cstdint>

#include "codegen/options.h"
#include "runtime/cost_model.h"
#include "runtime/sequence.h"

namespace codegen::runtime {

// Of a RESOURCE_EXHAUSTED: milliseconds, in decimal digits.
inline constexpr char kRetryAfterPayload[] = "codegen/retry_after_ms";

struct IntakeOptions {
  int requests = 0;        // that may wait
  std::int64_t bytes = 0;  // of their prompts
  Admission admission = Admission::kAll;
};

// Not safe for concurrent use.
class Intake {
 public:
  // What a request takes up, from Join to Leave.
  struct Place {
    std::int64_t bytes = 0;
    int tokens = 0;          // of the prompt
    bool queued = false;     // not scheduled yet
    bool untouched = false;  // its first token was not drawn yet
  };

  explicit Intake(const IntakeOptions& options) : options_(options) {}

  // Errors: DEADLINE_EXCEEDED (a deadline has passed, or cannot be made, with the estimate);
  // RESOURCE_EXHAUSTED (the queue is full), with kRetryAfterPayload.
  absl::Status Check(const Job& job, std::int64_t bytes) const;

  Place Join(const Job& job, std::int64_t bytes);
  void Start(Place& place);  // it is scheduled
  void Leave(Place& place);  // its first token is drawn, or it has ended; once or more often

  void Observe(double step_s, int prompt_rows) { cost_.Observe(step_s, prompt_rows); }

 private:
  absl::Status CheckQueue(std::int64_t bytes) const;
  absl::Status CheckDeadlines(const Job& job) const;

  const IntakeOptions options_;
  CostModel cost_;
  int queued_requests_ = 0;
  std::int64_t queued_bytes_ = 0;
  std::int64_t untouched_tokens_ = 0;  // of prompts before their first token
};

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_INTAKE_H_
