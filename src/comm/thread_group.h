// SPDX-License-Identifier: Apache-2.0
//
// Ranks that are threads of one process: they read and write each other's memory, and nothing is
// copied on the way.
//
// Of a sum each rank computes its share of the elements, reading the parts of all ranks and writing
// the result to all of them; one barrier before, when all parts are there, and one after. So n
// ranks move 2 n times the bytes of the values in all, and each 1/n of that.
//
// A rank that waits spins for a while, as the others are about to arrive, and then parks.
#ifndef CODEGEN_COMM_THREAD_GROUP_H_
#define CODEGEN_COMM_THREAD_GROUP_H_

#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace codegen::comm {

// Returns the ranks of a new group, in order. Each may be used by a thread of its own, and lives as
// long as it likes. Requires: ranks >= 1.
std::vector<std::shared_ptr<Communicator>> MakeThreadGroup(int ranks);

}  // namespace codegen::comm

#endif  // CODEGEN_COMM_THREAD_GROUP_H_
