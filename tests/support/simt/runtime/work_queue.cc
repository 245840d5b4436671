// SPDX-License-Identifier: Apache-2.0
#include "support/simt/runtime/work_queue.h"

#include <utility>

namespace codegen::simt {

OperationPtr WorkQueue::Submit(Operation operation, const std::vector<OperationPtr>& before) {
  auto submitted = std::make_shared<Operation>(std::move(operation));
  for (const OperationPtr& other : before) {
    if (other == nullptr || other->done) continue;
    submitted->before.push_back(other);
    other->behind.push_back(submitted);
  }
  submitted->waits = submitted->before.size();
  ++pending_;
  if (submitted->waits == 0) ready_.push_back(submitted);
  return submitted;
}

void WorkQueue::Want(const OperationPtr& operation) {
  std::vector<OperationPtr> unseen = {operation};
  while (!unseen.empty()) {
    const OperationPtr next = std::move(unseen.back());
    unseen.pop_back();
    if (next == nullptr || next->wanted) continue;
    next->wanted = true;
    unseen.insert(unseen.end(), next->before.begin(), next->before.end());
  }
}

OperationPtr WorkQueue::Take() {
  if (ready_.empty()) return nullptr;
  std::swap(ready_[Choose()], ready_.back());
  OperationPtr taken = std::move(ready_.back());
  ready_.pop_back();
  return taken;
}

// The index of the next in ready_, which is not empty.
std::size_t WorkQueue::Choose() {
  std::vector<std::size_t> wanted;
  if (pace_ == Pace::kLazy)
    for (std::size_t i = 0; i < ready_.size(); ++i)
      if (ready_[i]->wanted) wanted.push_back(i);
  if (wanted.empty()) return random_() % ready_.size();
  return wanted[random_() % wanted.size()];
}

void WorkQueue::Finish(Operation& operation) {
  operation.done = true;
  operation.work = nullptr;
  operation.before.clear();
  for (const OperationPtr& follower : std::exchange(operation.behind, {}))
    if (--follower->waits == 0) ready_.push_back(follower);
  --pending_;
}

void WorkQueue::Abandon() {
  while (const OperationPtr taken = Take()) Finish(*taken);
}

}  // namespace codegen::simt
