// SPDX-License-Identifier: Apache-2.0
#include "api/pending_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "base/no_memory.h"
#include "base/unshared.h"

namespace codegen::api {
namespace {

using Clock = std::chrono::steady_clock;
using runtime::Event;

}  // namespace

PendingRequest::PendingRequest(PendingRequestOptions options,
                               const std::optional<Tokenizer>& tokenizer,
                               std::weak_ptr<RequestOwner> owner)
    : options_(std::move(options)),
      streams_(options_.callbacks.on_chunk != nullptr),
      owner_(std::move(owner)) {
  const std::size_t samples = static_cast<std::size_t>(options_.samples);
  for (std::size_t i = 0; i < samples; ++i) {
    outputs_.emplace_back(TextOutput(tokenizer, options_.stop));
    outputs_.back().chunk.sample = static_cast<int>(i);
  }
  lag_.assign(samples, 0);
  paused_.assign(samples, false);
}

bool PendingRequest::Post(const Event& event) noexcept {
  const base::MutexLock lock(mutex_);
  if (done_) return false;
  try {
    mailbox_.push_back(event);
    mailbox_.back().status = base::Unshared(event.status);
  } catch (const std::bad_alloc&) {
    mail_lost_ = true;
  }
  if (event.kind == Event::Kind::kToken) ++lag_[static_cast<std::size_t>(event.id.sample)];
  return !std::exchange(scheduled_, true);
}

// What is fetched, not called back, cannot lag: it is never more than a completion.
bool PendingRequest::LagsBehind(int sample) {
  if (!streams_) return false;
  const base::MutexLock lock(mutex_);
  const std::size_t i = static_cast<std::size_t>(sample);
  if (done_ || lag_[i] < options_.output_tokens || paused_[i]) return false;
  paused_[i] = true;
  return true;
}

void PendingRequest::Receive(runtime::Delivery& delivery) noexcept {
  try {
    ReceiveAll(delivery);
  } catch (const std::bad_alloc&) {
    GiveUp(delivery);
  }
}

void PendingRequest::ReceiveAll(runtime::Delivery& delivery) {
  while (TakeMail()) {
    for (const Event& event : taken_) Take(event);
    for (Output& output : outputs_) HandOn(output, delivery);
    if (ended_ == options_.samples) Complete(Assemble(), delivery);
  }
}

// False: there is none, and the next event has to schedule this again. Throws if some was lost.
bool PendingRequest::TakeMail() {
  const base::MutexLock lock(mutex_);
  taken_.clear();
  if (done_ || (mailbox_.empty() && !mail_lost_)) {
    scheduled_ = false;
    return false;
  }
  if (mail_lost_) throw std::bad_alloc();
  taken_.swap(mailbox_);
  return true;
}

// Memory has run out: completes with what there is, and if there is none for that either, with
// nothing but the status.
void PendingRequest::GiveUp(runtime::Delivery& delivery) {
  status_ = base::NoMemory("no memory for the output");
  for (Output& output : outputs_) output.sample.finish_reason = FinishReason::kError;
  if (const auto owner = owner_.lock()) owner->End(id(), FinishReason::kError, status_);
  Completion completion;
  try {
    completion = Assemble();
  } catch (const std::bad_alloc&) {
    completion.finish_reason = FinishReason::kError;
    completion.status = base::Unshared(status_);
  }
  Complete(std::move(completion), delivery);
}

void PendingRequest::Take(const Event& event) {
  Output& output = outputs_[static_cast<std::size_t>(event.id.sample)];
  if (event.timeline.scheduled != Time() && timeline_.scheduled == Time()) {
    timeline_.scheduled = event.timeline.scheduled;
    cached_tokens_ = event.cached_tokens;
  }
  if (event.timeline.queued != Time()) timeline_.queued = event.timeline.queued;
  timeline_.preemptions = std::max(timeline_.preemptions, event.timeline.preemptions);
  if (timeline_.first_token == Time()) timeline_.first_token = event.timeline.first_token;
  if (output.ended) return;
  if (event.kind == Event::Kind::kToken) AddToken(output, event);
  if (event.kind == Event::Kind::kScored) AddScored(output, event);
  if (event.kind == Event::Kind::kEnd) EndSample(output, event.reason, event.status);
}

void PendingRequest::AddToken(Output& output, const Event& event) {
  output.sample.token_ids.push_back(event.token);
  output.chunk.token_ids.push_back(event.token);
  if (options_.logprobs) {
    output.sample.logprobs.push_back(event.logprob);
    output.chunk.logprobs.push_back(event.logprob);
  }
  last_token_ = event.time;
  const TextOutput::Result result = output.text.Add(event.token);
  output.AddText(result.text);
  if (!result.matched) return;
  EndSample(output, FinishReason::kStop, {});
  if (const auto owner = owner_.lock()) owner->Drop(event.id);
}

// Nobody waits for parts of a score.
void PendingRequest::AddScored(Output& output, const Event& event) {
  output.sample.token_ids.push_back(event.token);
  output.sample.logprobs.push_back(event.logprob);
}

// What was held back comes out now, and may complete a stop string after all.
void PendingRequest::EndSample(Output& output, FinishReason reason, const absl::Status& status) {
  const TextOutput::Result rest = output.text.Finish();
  output.AddText(rest.text);
  output.sample.finish_reason = rest.matched ? FinishReason::kStop : reason;
  output.ended = true;
  ++ended_;
  if (!rest.matched && status_.ok()) status_ = status;
}

// Ends what has not ended yet, from this side.
void PendingRequest::EndAll(FinishReason reason, const absl::Status& status) {
  for (Output& output : outputs_) {
    if (!output.ended) EndSample(output, reason, status);
  }
  if (const auto owner = owner_.lock()) owner->End(id(), reason, status);
}

void PendingRequest::HandOn(Output& output, runtime::Delivery& delivery) {
  Chunk chunk = std::exchange(output.chunk, Chunk{.sample = output.chunk.sample});
  if (chunk.token_ids.empty() && chunk.text.empty()) return;
  if (!streams_) return Queue(std::move(chunk));
  if (!silent_) CallBack(chunk, delivery);
  CatchUp(chunk.sample, static_cast<int>(chunk.token_ids.size()));
}

void PendingRequest::CallBack(const Chunk& chunk, runtime::Delivery& delivery) {
  const runtime::Delivery::Away away(delivery);
  try {
    if (options_.callbacks.on_chunk(chunk) == Next::kContinue) return;
    silent_ = true;
    EndAll(FinishReason::kCancelled, absl::CancelledError("the callback returned kCancel"));
  } catch (const std::exception& error) {
    Fail(absl::UnknownError(fmt::format("the callback threw: {}", error.what())));
  } catch (...) {
    Fail(absl::UnknownError("the callback threw"));
  }
}

// The host lost a chunk, so what has ended well before it was told has not ended well for the host.
void PendingRequest::Fail(const absl::Status& status) {
  silent_ = true;
  EndAll(FinishReason::kError, status);
  for (Output& output : outputs_) output.sample.finish_reason = FinishReason::kError;
  status_ = status;
}

void PendingRequest::CatchUp(int sample, int tokens) {
  {
    const base::MutexLock lock(mutex_);
    const std::size_t i = static_cast<std::size_t>(sample);
    lag_[i] -= tokens;
    if (!paused_[i] || lag_[i] > options_.output_tokens / 2) return;
    paused_[i] = false;
  }
  if (const auto owner = owner_.lock()) owner->Resume({id(), sample});
}

void PendingRequest::Queue(Chunk chunk) {
  const base::MutexLock lock(mutex_);
  const auto waiting = std::ranges::find(chunks_, chunk.sample, &Chunk::sample);
  if (waiting == chunks_.end()) {
    chunks_.push_back(std::move(chunk));
  } else {
    waiting->text += chunk.text;
    waiting->token_ids.insert(waiting->token_ids.end(), chunk.token_ids.begin(),
                              chunk.token_ids.end());
    waiting->logprobs.insert(waiting->logprobs.end(), chunk.logprobs.begin(), chunk.logprobs.end());
  }
  changed_.NotifyAll();
}

Completion PendingRequest::Assemble() {
  Completion completion;
  completion.more.reserve(outputs_.size() - 1);
  timeline_.done = Clock::now();
  for (Output& output : outputs_) {
    completion.usage.completion_tokens += static_cast<int>(output.sample.token_ids.size());
    if (&output != &outputs_.front()) completion.more.push_back(std::move(output.sample));
  }
  static_cast<Sample&>(completion) = std::move(outputs_.front().sample);
  completion.status = base::Unshared(status_);
  completion.usage.prompt_tokens = options_.prompt_tokens;
  completion.usage.cached_prompt_tokens = cached_tokens_;
  completion.timeline = timeline_;
  if (timeline_.first_token != Time()) {
    completion.timings.prefill_s = Seconds(timeline_.first_token - timeline_.scheduled);
    if (last_token_ != Time())
      completion.timings.decode_s = Seconds(std::max(last_token_ - timeline_.first_token, {}));
  }
  return completion;
}

void PendingRequest::Complete(Completion completion, runtime::Delivery& delivery) {
  const auto owner = owner_.lock();
  if (owner) owner->OnCompleted(id(), completion);
  const Completion* kept = nullptr;
  {
    const base::MutexLock lock(mutex_);
    completion_ = std::move(completion);
    kept = &completion_;
    done_ = true;
    changed_.NotifyAll();
  }
  LeaveHost(*kept, delivery);
  if (owner) owner->OnDelivered(id());
}

// The last call, and the end of what the callbacks hold, which may be the handle, which holds this.
void PendingRequest::LeaveHost(const Completion& completion, runtime::Delivery& delivery) {
  if (!options_.callbacks.on_chunk && !options_.callbacks.on_done) return;
  const runtime::Delivery::Away away(delivery);
  try {
    if (options_.callbacks.on_done) options_.callbacks.on_done(completion);
  } catch (...) {  // there is nobody left to tell
  }
  options_.callbacks = {};
}

std::optional<Chunk> PendingRequest::NextChunk(Time deadline) {
  const base::MutexLock lock(mutex_);
  while (chunks_.empty() && !done_ && Clock::now() < deadline) changed_.Wait(mutex_, deadline);
  if (chunks_.empty()) return std::nullopt;
  Chunk chunk = std::move(chunks_.front());
  chunks_.pop_front();
  return chunk;
}

const Completion* PendingRequest::WaitUntil(Time deadline) {
  const base::MutexLock lock(mutex_);
  while (!done_ && Clock::now() < deadline) changed_.Wait(mutex_, deadline);
  return done_ ? &completion_ : nullptr;
}

void PendingRequest::Abandon() {
  if (!detached_.load(std::memory_order_relaxed)) Cancel();
}

void PendingRequest::Cancel() {
  if (done()) return;
  if (const auto owner = owner_.lock())
    owner->End(id(), FinishReason::kCancelled,
               base::StatusOf(absl::StatusCode::kCancelled, "cancelled by the host"));
}

bool PendingRequest::done() const {
  const base::MutexLock lock(mutex_);
  return done_;
}

}  // namespace codegen::api
