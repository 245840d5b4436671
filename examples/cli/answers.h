// SPDX-License-Identifier: Apache-2.0
//
// Answers to lines that are served at the same time, on their way to standard output.
//
// An answer with an id goes out at once: the id tells what it belongs to. Answers without one keep
// the order of their lines among themselves, so one that is early waits for those before it. A line
// holds its place until its answer is written, which bounds what can wait.
#ifndef CODEGEN_EXAMPLES_CLI_ANSWERS_H_
#define CODEGEN_EXAMPLES_CLI_ANSWERS_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

#include "output.h"

namespace cli {

// One thread reads lines, and calls what waits; any thread may Give.
class Answers {
 public:
  // What a line needs to be answered.
  struct Place {
    Json id = {};            // null without one
    std::uint64_t turn = 0;  // among the lines without an id
  };

  // Requires: places > 0.
  explicit Answers(int places) : places_(places) {}

  // Waits until one of the places is free, and takes it.
  Place Take(const Json& id);
  // Answers the line of this place. Once.
  void Give(const Place& place, const absl::StatusOr<Json>& result);

  // How many answers were given so far.
  std::uint64_t given() const;
  // Waits until more than `given` answers were given. Returns false if that cannot be, because the
  // line taken last is the only one without an answer.
  bool WaitForAnother(std::uint64_t given);

  // Waits until every place is free again, or writing has failed. Returns status().
  absl::Status Finish();
  // What writing an answer has failed with; nothing more is written then. Errors: as Write.
  absl::Status status() const;

 private:
  void WriteAnswer(const Json& answer);  // Requires: mutex_ is held
  void WriteWhoseTurnItIs();             // Requires: mutex_ is held

  const int places_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // The rest is guarded by mutex_.
  int taken_ = 0;                            // places
  std::uint64_t lines_ = 0;                  // taken so far
  std::uint64_t given_ = 0;                  // answers so far
  std::uint64_t turn_ = 0;                   // of the front of `waiting_`
  std::deque<std::optional<Json>> waiting_;  // lines without an id, those without an answer empty
  absl::Status status_;
};

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_ANSWERS_H_
