// SPDX-License-Identifier: Apache-2.0
#include "codegen/thread_pool.h"

#include <absl/status/status.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "api/thread_pool_state.h"
#include "base/check.h"
#include "base/usable_cpus.h"
#include "codegen/options.h"

namespace codegen {

absl::StatusOr<std::shared_ptr<ThreadPool>> ThreadPool::Create(const ThreadPoolOptions& options) {
  if (options.threads < 0 || options.threads > Limits::threads) {
    return absl::InvalidArgumentError(fmt::format(
        "ThreadPoolOptions::threads is {}, allowed 0 to {}", options.threads, Limits::threads));
  }
  const int threads =
      options.threads == 0 ? std::min(base::UsableCores(), Limits::threads) : options.threads;
  std::vector<int> cpus;
  if (options.affinity == Affinity::kPinned) cpus = base::UsableCpus();
  CODEGEN_ASSIGN_OR_RETURN(std::unique_ptr<base::ThreadPool> pool,
                           base::ThreadPool::Create(threads, cpus));
  auto state = std::make_unique<State>(State{.pool = std::move(pool)});
  return std::shared_ptr<ThreadPool>(new ThreadPool(std::move(state)));
}

ThreadPool::ThreadPool(std::unique_ptr<State> state) : state_(std::move(state)) {}

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const { return state_->pool->threads(); }

}  // namespace codegen
