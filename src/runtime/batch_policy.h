// SPDX-License-Identifier: Apache-2.0
//
// When waiting samples may start: the dynamic batching of codegen::BatchPolicy as a function.
#ifndef CODEGEN_RUNTIME_BATCH_POLICY_H_
#define CODEGEN_RUNTIME_BATCH_POLICY_H_

#include "codegen/options.h"
#include "codegen/request.h"

namespace codegen::runtime {

struct Queue {
  int waiting = 0;
  Time oldest = {};  // arrival of the oldest that waits; unused if none does
  int running = 0;
};

// Returns how many may start now, of those that wait.
int MayStart(const BatchPolicy& policy, int max_batch, const Queue& queue, Time now);

// Returns when MayStart can change its mind though nothing arrives or ends; Time::max() if never.
Time WindowEnd(const BatchPolicy& policy, const Queue& queue);

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_BATCH_POLICY_H_
