// SPDX-License-Identifier: Apache-2.0
//
// The one virtual call of a step: what runs sequences asks an Executor, whatever the device, the
// architecture or the number of ranks behind it.
#ifndef CODEGEN_MODEL_EXECUTOR_H_
#define CODEGEN_MODEL_EXECUTOR_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/rows.h"
#include "backend/sampling.h"
#include "checkpoint/safetensors_writer.h"
#include "comm/communicator.h"

namespace codegen::model {

// What a step is asked for. Empty spans ask for nothing.
struct StepOutput {
  std::span<const backend::Sampling> sampling = {};  // [logit rows] or empty
  std::span<backend::SampledToken> tokens = {};      // [logit rows] if sampling is given
  std::span<float> logits = {};                      // [logit rows, vocabulary] or empty
};

struct ExecutorOptions {
  std::int64_t pages = 0;       // of the key-value cache, in every layer
  std::int64_t rows = 0;        // per step at most
  std::int64_t logit_rows = 0;  // per step at most
  // Of the rank whose shard the model is, one of several; null: the model is whole.
  std::shared_ptr<comm::Communicator> communicator = {};
};

// A model with a key-value cache and the scratch memory of a step. One owner; not safe for
// concurrent use.
class Executor {
 public:
  virtual ~Executor() = default;

  // Computes `rows`, and samples or copies the logits of rows.logit_rows.
  // Errors: INTERNAL if `rows` or `output` exceed the options or disagree (a bug of the caller);
  // the step is not run. UNAVAILABLE if the device is lost for good. Others, of a device that can
  // fail, leave the outputs and the pages of the step unspecified.
  virtual absl::Status Step(const backend::Rows& rows, const StepOutput& output) = 0;
};

// Weights as they lie in memory, which lives as long as the DeviceModel.
struct SavedTensors {
  std::string layout = {};
  std::vector<checkpoint::TensorBytes> tensors = {};
};

// Weights on a device, immutable and shared by its executors. Safe for concurrent use.
class DeviceModel {
 public:
  virtual ~DeviceModel() = default;
  // Takes all the memory that the executor will use. The executor keeps the weights alive.
  // Errors: RESOURCE_EXHAUSTED.
  virtual absl::StatusOr<std::unique_ptr<Executor>> MakeExecutor(
      const ExecutorOptions& options) const = 0;
  // The weights as the tensors of a file (saved_model.h). Errors: UNIMPLEMENTED on a device whose
  // memory cannot be saved.
  virtual absl::StatusOr<SavedTensors> Tensors() const = 0;
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_EXECUTOR_H_
