// SPDX-License-Identifier: Apache-2.0
#include "runtime/intake.h"

#include <absl/strings/cord.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

namespace codegen::runtime {

absl::Status Intake::Check(const Job& job, std::int64_t bytes) const {
  absl::Status status = CheckDeadlines(job);
  return status.ok() ? CheckQueue(bytes) : status;
}

absl::Status Intake::CheckQueue(std::int64_t bytes) const {
  std::string full;
  if (queued_requests_ >= options_.requests) {
    full = fmt::format("{} requests wait, BatcherOptions::queue_requests allows {}",
                       queued_requests_, options_.requests);
  } else if (queued_bytes_ + bytes > options_.bytes) {
    full = fmt::format("{} bytes of prompts wait, BatcherOptions::queue_bytes allows {}",
                       queued_bytes_ + bytes, options_.bytes);
  } else {
    return absl::OkStatus();
  }
  const double wait_s =
      cost_.PromptSeconds(static_cast<double>(untouched_tokens_)) / std::max(queued_requests_, 1);
  const int retry_ms = std::max(1, static_cast<int>(1000 * wait_s));
  absl::Status status = absl::ResourceExhaustedError(
      fmt::format("the queue is full: {}; try again in {} ms", full, retry_ms));
  status.SetPayload(kRetryAfterPayload, absl::Cord(std::to_string(retry_ms)));
  return status;
}

absl::Status Intake::CheckDeadlines(const Job& job) const {
  const Time by = std::min(job.first_token_by, job.done_by);
  if (by <= job.arrival) {
    return absl::DeadlineExceededError(job.done_by <= job.arrival
                                           ? "done_by has passed already"
                                           : "first_token_by has passed already");
  }
  if (options_.admission == Admission::kAll || by == Time::max()) return absl::OkStatus();
  const double first_s = cost_.PromptSeconds(static_cast<double>(untouched_tokens_) +
                                             static_cast<double>(job.prompt.size()));
  const double done_s = first_s + cost_.TokenSeconds(std::max(job.new_tokens - 1, 0));
  const auto misses = [&](Time deadline, double seconds) {
    return deadline != Time::max() &&
           std::chrono::duration<double>(deadline - job.arrival).count() < seconds;
  };
  if (misses(job.first_token_by, first_s)) {
    return absl::DeadlineExceededError(fmt::format(
        "the first token would take about {:.3f} s, longer than first_token_by allows", first_s));
  }
  if (misses(job.done_by, done_s)) {
    return absl::DeadlineExceededError(fmt::format(
        "{} tokens would take about {:.3f} s, longer than done_by allows", job.new_tokens, done_s));
  }
  return absl::OkStatus();
}

Intake::Place Intake::Join(const Job& job, std::int64_t bytes) {
  const Place place{.bytes = bytes,
                    .tokens = static_cast<int>(job.prompt.size()),
                    .queued = true,
                    .untouched = true};
  ++queued_requests_;
  queued_bytes_ += place.bytes;
  untouched_tokens_ += place.tokens;
  return place;
}

void Intake::Start(Place& place) {
  if (!std::exchange(place.queued, false)) return;
  --queued_requests_;
  queued_bytes_ -= place.bytes;
}

void Intake::Leave(Place& place) {
  Start(place);
  if (std::exchange(place.untouched, false)) untouched_tokens_ -= place.tokens;
}

}  // namespace codegen::runtime
