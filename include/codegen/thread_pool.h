// SPDX-License-Identifier: Apache-2.0
//
// The threads that models compute on.
//
//   auto pool = codegen::ThreadPool::Create({.threads = 8});
//   auto small = codegen::Model::Load("codegen-350M-mono", {.thread_pool = *pool});
//   auto large = codegen::Model::Load("codegen-2B-mono", {.thread_pool = *pool});
#ifndef CODEGEN_THREAD_POOL_H_
#define CODEGEN_THREAD_POOL_H_

#include <absl/status/statusor.h>

#include <memory>

#include "codegen/export.h"

namespace codegen {

// Whether threads stay on one CPU each.
enum class Affinity {
  kNone,    // the system moves them as it likes
  kPinned,  // worker i runs on the i-th CPU that the process may use; the thread that calls into
            // the library, which computes too, is left alone. For machines that run nothing else.
};

struct ThreadPoolOptions {
  // The calling thread included; 0 takes one per physical core that the process may use (affinity
  // and cgroup quota). At most Limits::threads.
  int threads = 0;
  Affinity affinity = Affinity::kNone;
};

// Threads that wait, without using the CPU, until a step of a model runs; during one they spin
// between its operations. Safe to use by any number of models at once: their steps take turns,
// operation by operation. Lives as long as any of them.
class CODEGEN_EXPORT ThreadPool {
 public:
  // Errors: INVALID_ARGUMENT (threads), RESOURCE_EXHAUSTED (the system refuses one).
  static absl::StatusOr<std::shared_ptr<ThreadPool>> Create(const ThreadPoolOptions& options = {});

  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The calling thread included.
  int threads() const;

  struct State;
  State& state() const { return *state_; }  // for the library itself

 private:
  explicit ThreadPool(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace codegen

#endif  // CODEGEN_THREAD_POOL_H_
