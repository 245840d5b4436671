// SPDX-License-Identifier: Apache-2.0
//
// What a test may do to the pretend device: choose its size and its habits, make it fail, count
// what was asked of it.
//
//   simt::Reset({.memory_bytes = 1 << 20});
//   simt::Inject({.call = simt::Call::kAllocate, .nth = 3, .error = cudaErrorMemoryAllocation});
//   ...
//   EXPECT_EQ(simt::Count().live_allocations, 0);
//
// The substitute stands for one machine and is therefore one per process. Its functions may be
// called from several threads, as those of CUDA; Reset only while no other thread calls any.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CONTROL_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CONTROL_H_

#include <driver_types.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace codegen::simt {

// When work runs that nobody waits for yet. All three are orders that a real device may show, and
// each finds mistakes that the others hide.
enum class Pace {
  kLazy,    // only what somebody waits for, and what that depends on: finds missing events
  kRandom,  // once somebody waits, any work of any stream until that wait is over
  kEager,   // at once: finds results that the host overwrites after it asked for them
};

// A driver that is not there is one that is too old, to CUDA; only its version differs.
enum class Driver { kPresent, kNoDevice, kTooOld, kMissing };

enum class Library { kPresent, kUnusable, kMissing };

struct Settings {
  Driver driver = Driver::kPresent;
  Library blas = Library::kPresent;  // of the machine; a test that brings its own has it anyway
  int devices = 1;
  int capability = 90;  // of each device to compute: ten times the major number, and the minor
  std::size_t memory_bytes = std::size_t{1} << 30;  // of each device
  unsigned char poison = 0xFF;                      // fills new memory; NaN in every float format
  Pace pace = Pace::kRandom;
  std::uint64_t seed = 1;  // of the order among what may run
};

// Begins anew: forgets streams, events and graphs, frees all memory, heals sticky errors, removes
// faults and sets the counters to 0; every thread is back at device 0. Last errors of other threads
// remain.
void Reset(const Settings& settings = {});

// The kinds of calls that can be made to fail. Calls that only give something back never fail by
// themselves and are none of these.
enum class Call {
  kAny,
  kAllocate,     // cudaMalloc, cudaMallocHost, cudaHostAlloc
  kCopy,         // cudaMemcpy, cudaMemcpyAsync, cudaMemsetAsync
  kLaunch,       // kernels, graphs, products of cuBLASLt
  kSynchronize,  // of a stream, an event or the device
  kPoll,         // cudaStreamQuery, cudaEventQuery
  kOther,
};

enum class Lasting { kOnce, kSticky };

struct Fault {
  Call call = Call::kAny;
  std::int64_t nth = 1;  // from now on, the first is 1
  cudaError_t error = cudaErrorUnknown;
  Lasting lasting = Lasting::kOnce;
};

// Faults count independently of each other; each fires once.
void Inject(const Fault& fault);

// Whether a fault is left that has not fired: a sweep over nth ends when one is.
bool HasPendingFaults();

struct Counters {
  // Calls that succeeded since Reset.
  std::int64_t allocations = 0;  // device and pinned
  std::int64_t frees = 0;
  std::int64_t copies = 0;
  std::int64_t pageable_copies = 0;  // of copies: through memory that the device cannot reach
  std::int64_t launches = 0;         // kernels and products; not those of a graph
  std::int64_t graph_launches = 0;
  std::int64_t host_functions = 0;
  std::int64_t synchronizations = 0;
  std::int64_t polls = 0;

  // Of cuBLASLt (cublaslt.h).
  std::int64_t heuristics = 0;        // asked for
  std::int64_t algorithm_checks = 0;  // asked for
  std::int64_t blind_products = 0;    // for which it had to find an algorithm itself
  std::array<std::int64_t, 3> products_by_algorithm = {};

  // What exists now.
  std::int64_t live_allocations = 0;
  std::int64_t live_streams = 0;
  std::int64_t live_events = 0;
  std::int64_t live_graphs = 0;  // and executable graphs
};

Counters Count();

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CONTROL_H_
