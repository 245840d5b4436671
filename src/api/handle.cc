// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "api/pending_request.h"
#include "codegen/batcher.h"

namespace codegen {

Handle::Handle(std::shared_ptr<api::PendingRequest> request) : request_(std::move(request)) {}

Handle::Handle(Handle&&) noexcept = default;

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    if (request_) request_->Abandon();
    request_ = std::move(other.request_);
  }
  return *this;
}

Handle::~Handle() {
  if (request_) request_->Abandon();
}

std::optional<Chunk> Handle::Next(Time deadline) { return request_->NextChunk(deadline); }

const Completion& Handle::Wait() { return *request_->WaitUntil(Time::max()); }

const Completion* Handle::Wait(Time deadline) { return request_->WaitUntil(deadline); }

void Handle::Cancel() { request_->Cancel(); }

void Handle::Detach() { request_->Detach(); }

bool Handle::done() const { return request_->done(); }

std::uint64_t Handle::id() const { return request_->id(); }

}  // namespace codegen
