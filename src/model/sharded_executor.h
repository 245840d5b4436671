// SPDX-License-Identifier: Apache-2.0
//
// A model that is split over several devices of one process, as one model: an Executor made of
// Executors, one thread each.
//
// The caller's thread computes the first shard; the others wait for the step to begin. Each rank
// computes its part of every block and the ranks add their sums (comm/communicator.h), so all of
// them have the logits in the end, and the first one samples.
#ifndef CODEGEN_MODEL_SHARDED_EXECUTOR_H_
#define CODEGEN_MODEL_SHARDED_EXECUTOR_H_

#include <absl/status/statusor.h>

#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "model/executor.h"

namespace codegen::model {

// Makes one executor of those of all ranks, in order, which were made with `communicators`.
// RESOURCE_EXHAUSTED if the system refuses a thread.
absl::StatusOr<std::unique_ptr<Executor>> MakeShardedExecutor(
    std::vector<std::unique_ptr<Executor>> ranks,
    std::vector<std::shared_ptr<comm::Communicator>> communicators);

// A model made of its shards, in order of their ranks.
class ShardedModel final : public DeviceModel {
 public:
  explicit ShardedModel(std::vector<std::shared_ptr<const DeviceModel>> shards)
      : shards_(std::move(shards)) {}

  // Errors: as each shard's, and as MakeShardedExecutor.
  absl::StatusOr<std::unique_ptr<Executor>> MakeExecutor(
      const ExecutorOptions& options) const override;
  // UNIMPLEMENTED: a file holds whole matrices.
  absl::StatusOr<SavedTensors> Tensors() const override;

 private:
  std::vector<std::shared_ptr<const DeviceModel>> shards_;
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_SHARDED_EXECUTOR_H_
