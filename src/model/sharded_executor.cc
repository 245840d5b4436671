// SPDX-License-Identifier: Apache-2.0
#include "model/sharded_executor.h"

#include <absl/status/status.h>
#include <fmt/format.h>

#include <atomic>
#include <cfenv>
#include <cstdint>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/guarded.h"
#include "base/spin.h"
#include "comm/thread_group.h"

namespace codegen::model {
namespace {

class ShardedExecutor final : public Executor {
 public:
  ShardedExecutor(std::vector<std::unique_ptr<Executor>> ranks,
                  std::vector<std::shared_ptr<comm::Communicator>> communicators)
      : ranks_(std::move(ranks)),
        communicators_(std::move(communicators)),
        statuses_(ranks_.size()) {}

  ~ShardedExecutor() override {
    stop_ = true;
    Begin();
    for (std::thread& thread : threads_) thread.join();
  }

  absl::Status Start() {
    try {
      threads_.reserve(ranks_.size() - 1);
      for (std::size_t rank = 1; rank < ranks_.size(); ++rank)
        threads_.emplace_back([this, rank] { Serve(rank); });
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(
          fmt::format("cannot start the thread of a shard: {}", error.what()));
    }
    return absl::OkStatus();
  }

  absl::Status Step(const backend::Rows& rows, const StepOutput& output) override {
    CODEGEN_RETURN_IF_ERROR(failure_);
    rows_ = &rows;
    left_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
    Begin();
    Compute(0, output);
    for (int left = left_.load(std::memory_order_acquire); left > 0;
         left = left_.load(std::memory_order_acquire))
      base::SpinThenPark(left_, left);
    for (const absl::Status& status : statuses_) {
      if (status.ok()) continue;
      failure_ = absl::UnavailableError(
          fmt::format("a part of the model has failed: {}", std::string(status.message())));
      return status;
    }
    return absl::OkStatus();
  }

 private:
  void Begin() {
    steps_.fetch_add(1, std::memory_order_release);
    steps_.notify_all();
  }

  void Serve(std::size_t rank) {
    std::fesetenv(FE_DFL_ENV);  // not that of whoever made the executor
    for (std::uint32_t last = 0;; ++last) {
      base::SpinThenPark(steps_, last);
      if (stop_) return;
      Compute(rank, {});
      left_.fetch_sub(1, std::memory_order_release);
      left_.notify_all();
    }
  }

  // Of a rank that fails, the others hear at once: they wait for its part.
  void Compute(std::size_t rank, const StepOutput& output) noexcept {
    absl::Status& status = statuses_[rank];
    status = base::Guarded([&] { return ranks_[rank]->Step(*rows_, output); });
    if (!status.ok()) communicators_[rank]->Abort(status);
  }

  std::vector<std::unique_ptr<Executor>> ranks_;
  std::vector<std::shared_ptr<comm::Communicator>> communicators_;
  std::vector<absl::Status> statuses_;  // of the step, by rank
  absl::Status failure_;  // of all steps to come: the ranks no longer agree on anything
  const backend::Rows* rows_ = nullptr;  // of the step
  bool stop_ = false;
  std::atomic<std::uint32_t> steps_ = 0;  // begun
  std::atomic<int> left_ = 0;             // ranks beside the first that are not done with the step
  std::vector<std::thread> threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Executor>> MakeShardedExecutor(
    std::vector<std::unique_ptr<Executor>> ranks,
    std::vector<std::shared_ptr<comm::Communicator>> communicators) {
  CODEGEN_DCHECK(!ranks.empty() && ranks.size() == communicators.size());
  auto executor = std::make_unique<ShardedExecutor>(std::move(ranks), std::move(communicators));
  CODEGEN_RETURN_IF_ERROR(executor->Start());
  return executor;
}

absl::StatusOr<std::unique_ptr<Executor>> ShardedModel::MakeExecutor(
    const ExecutorOptions& options) const {
  if (shards_.size() == 1) return shards_.front()->MakeExecutor(options);
  auto communicators = comm::MakeThreadGroup(static_cast<int>(shards_.size()));
  std::vector<std::unique_ptr<Executor>> ranks;
  for (std::size_t rank = 0; rank < shards_.size(); ++rank) {
    ExecutorOptions of_rank = options;
    of_rank.communicator = communicators[rank];
    CODEGEN_ASSIGN_OR_RETURN(std::unique_ptr<Executor> executor,
                             shards_[rank]->MakeExecutor(of_rank));
    ranks.push_back(std::move(executor));
  }
  return MakeShardedExecutor(std::move(ranks), std::move(communicators));
}

absl::StatusOr<SavedTensors> ShardedModel::Tensors() const {
  return absl::UnimplementedError("a model that is split into shards cannot be saved");
}

}  // namespace codegen::model
