// SPDX-License-Identifier: Apache-2.0
#include "support/simt/barriers.h"

#include "support/simt/block.h"
#include "support/simt/sanitizers.h"

namespace codegen::simt {

void SyncNamedBarrier(int id, int threads, Place place) {
  CurrentBlock().SyncNamed(id, threads, {"SyncNamedBarrier", place});
}

}  // namespace codegen::simt

using codegen::simt::Block;
using codegen::simt::CurrentBlock;
using codegen::simt::Place;

void __syncthreads(Place place) { CurrentBlock().SyncThreads(false, {"__syncthreads", place}); }

int __syncthreads_count(int predicate, Place place) {
  return CurrentBlock().SyncThreads(predicate != 0, {"__syncthreads_count", place}).ayes;
}

int __syncthreads_and(int predicate, Place place) {
  const Block::Votes votes =
      CurrentBlock().SyncThreads(predicate != 0, {"__syncthreads_and", place});
  return votes.ayes == votes.threads ? 1 : 0;
}

int __syncthreads_or(int predicate, Place place) {
  return CurrentBlock().SyncThreads(predicate != 0, {"__syncthreads_or", place}).ayes > 0 ? 1 : 0;
}

void __threadfence() {
  void* edge = CurrentBlock().fence();
  codegen::simt::Acquire(edge);
  codegen::simt::Release(edge);
}

void __threadfence_block() { __threadfence(); }

void __threadfence_system() { __threadfence(); }

void __nanosleep(unsigned /*nanoseconds*/) { CurrentBlock().Yield(); }

void __trap(Place place) { CurrentBlock().Fail("the kernel gave up", {"__trap", place}); }
