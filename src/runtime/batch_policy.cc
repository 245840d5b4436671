// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch_policy.h"

#include <algorithm>

namespace codegen::runtime {
namespace {

// The largest preferred size that is reached; 0 if none is.
int PreferredReached(const BatchPolicy& policy, int waiting) {
  int reached = 0;
  for (const int size : policy.preferred) {
    if (size <= waiting) reached = std::max(reached, size);
  }
  return reached;
}

}  // namespace

int MayStart(const BatchPolicy& policy, int max_batch, const Queue& queue, Time now) {
  const int room = std::min(queue.waiting, max_batch - queue.running);
  if (queue.running > 0) return policy.mode == BatchMode::kContinuous ? std::max(room, 0) : 0;
  if (queue.waiting >= max_batch || now - queue.oldest >= policy.window) return room;
  return PreferredReached(policy, queue.waiting);
}

Time WindowEnd(const BatchPolicy& policy, const Queue& queue) {
  if (queue.waiting == 0 || queue.running > 0) return Time::max();
  return queue.oldest + policy.window;
}

}  // namespace codegen::runtime
