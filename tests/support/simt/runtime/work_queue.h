// SPDX-License-Identifier: Apache-2.0
//
// What the pretend device still has to do: a graph of operations, each behind the ones that it has
// to wait for.
//
// Streams, events and graphs of CUDA are all ways of saying "after". They are translated into edges
// when work is submitted, so that the queue knows nothing of them: an operation may run once all
// before it are done, and whichever of those that may is taken next is left to chance. Every order
// that the queue can produce is one that a device could show.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_WORK_QUEUE_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_WORK_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "support/simt/runtime/control.h"

namespace codegen::simt {

struct Operation {
  std::function<void()> work;
  std::string name;

  // Kept by WorkQueue.
  std::vector<std::shared_ptr<Operation>> before;  // waits for these; empty when done
  std::vector<std::shared_ptr<Operation>> behind;  // wait for this; empty when done
  std::size_t waits = 0;                           // of `before`, not done yet
  bool wanted = false;                             // somebody waits for it or for one behind it
  bool done = false;
};

using OperationPtr = std::shared_ptr<Operation>;

class WorkQueue {
 public:
  WorkQueue() = default;
  WorkQueue(Pace pace, std::uint64_t seed) : pace_(pace), random_(seed) {}

  // Null and done operations in `before` are allowed, and as good as none.
  OperationPtr Submit(Operation operation, const std::vector<OperationPtr>& before);

  // Somebody waits for `operation`: a lazy queue prefers what it needs.
  static void Want(const OperationPtr& operation);

  // Takes the next operation out, for the caller to run and then to Finish; null if none may run.
  OperationPtr Take();
  void Finish(Operation& operation);

  // Finishes everything that has not been taken, without running it.
  void Abandon();

  bool empty() const { return pending_ == 0; }
  bool eager() const { return pace_ == Pace::kEager; }

 private:
  std::size_t Choose();

  Pace pace_ = Pace::kRandom;
  std::mt19937_64 random_;
  std::vector<OperationPtr> ready_;
  std::size_t pending_ = 0;  // submitted and not finished
};

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_WORK_QUEUE_H_
