// SPDX-License-Identifier: Apache-2.0
#ifndef CODEGEN_API_LOCKSTEP_H_
#define CODEGEN_API_LOCKSTEP_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <memory>
#include <utility>

#include "codegen/model.h"
#include "model/executor.h"

namespace codegen::api {

// A batch of sequences of equal length that grows step by step, for measuring the bare device: its
// tokens are made up.
class Lockstep {
 public:
  static constexpr int kLargestStep = 512;  // rows; longer prompts are computed in chunks

  // Room for `batch` sequences of `context` tokens. Errors: RESOURCE_EXHAUSTED.
  static absl::StatusOr<Lockstep> Create(const Model& model, int batch, int context);

  // Gives every sequence `tokens` more, sequence after sequence, in chunks.
  absl::Status Prefill(int tokens);

  // Gives every sequence one more token in a single step.
  absl::Status Decode();

  void Rewind() { length_ = 0; }

 private:
  Lockstep(int vocabulary, int batch, int pages, std::unique_ptr<model::Executor> executor)
      : vocabulary_(vocabulary), batch_(batch), pages_(pages), executor_(std::move(executor)) {}

  absl::Status Step(int first_sequence, int sequences, int position, int count);

  int vocabulary_;
  int batch_;
  int pages_;  // of each sequence
  std::unique_ptr<model::Executor> executor_;
  int length_ = 0;
};

}  // namespace codegen::api

#endif  // CODEGEN_API_LOCKSTEP_H_
