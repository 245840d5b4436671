// SPDX-License-Identifier: Apache-2.0
#include "answers.h"

#include "json_lines.h"

namespace cli {

Answers::Place Answers::Take(const Json& id) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return taken_ < places_; });
  ++taken_;
  ++lines_;
  if (!id.is_null()) return {.id = id};
  waiting_.emplace_back();
  return {.turn = turn_ + waiting_.size() - 1};
}

void Answers::Give(const Place& place, const absl::StatusOr<Json>& result) {
  Json answer = Answer(place.id, result);
  const std::lock_guard lock(mutex_);
  ++given_;
  if (place.id.is_null()) {
    waiting_[place.turn - turn_] = std::move(answer);
    WriteWhoseTurnItIs();
  } else {
    WriteAnswer(answer);
  }
  changed_.notify_all();
}

std::uint64_t Answers::given() const {
  const std::lock_guard lock(mutex_);
  return given_;
}

bool Answers::WaitForAnother(std::uint64_t given) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return given_ > given || given_ + 1 == lines_; });
  return given_ > given;
}

absl::Status Answers::Finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return taken_ == 0 || !status_.ok(); });
  return status_;
}

absl::Status Answers::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void Answers::WriteAnswer(const Json& answer) {
  if (status_.ok()) status_ = WriteLine(answer);
  --taken_;
}

void Answers::WriteWhoseTurnItIs() {
  for (; !waiting_.empty() && waiting_.front(); ++turn_) {
    WriteAnswer(*waiting_.front());
    waiting_.pop_front();
  }
}

}  // namespace cli
