// SPDX-License-Identifier: Apache-2.0
//
// The barriers of a block, and fences.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_BARRIERS_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_BARRIERS_H_

#include "support/simt/diagnostics.h"

namespace codegen::simt {

void SyncNamedBarrier(int id, int threads, Place place);

}  // namespace codegen::simt

void __syncthreads(codegen::simt::Place place = codegen::simt::Place::Here());
int __syncthreads_count(int predicate, codegen::simt::Place place = codegen::simt::Place::Here());
int __syncthreads_and(int predicate, codegen::simt::Place place = codegen::simt::Place::Here());
int __syncthreads_or(int predicate, codegen::simt::Place place = codegen::simt::Place::Here());

// What one thread wrote before its fence is seen by a thread that fences later. On one host thread
// memory has no weak order; the fence tells the thread sanitizer that order was asked for.
void __threadfence();
void __threadfence_block();
void __threadfence_system();

// Lets others run.
void __nanosleep(unsigned nanoseconds);

// The kernel found itself wrong.
[[noreturn]] void __trap(codegen::simt::Place place = codegen::simt::Place::Here());

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_BARRIERS_H_
