// SPDX-License-Identifier: Apache-2.0
//
// The pretend machine that all functions of the substitute share: what exists on it, what it still
// has to do, what is broken.
//
// A function of the CUDA runtime is one call of Api(): it takes the lock of the machine, asks
// whether such a call may be made now (a driver, no sticky error, no capture that it would spoil,
// no fault that a test asked for), runs the body and keeps its error for cudaGetLastError. Work of
// the device runs without the lock, one piece at a time, on a thread that waits for it; so code
// under test may hold locks of its own around calls that do not wait, as on a real device.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_MACHINE_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_MACHINE_H_

#include <absl/functional/function_ref.h>
#include <driver_types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "support/simt/runtime/capture.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/memory_map.h"
#include "support/simt/runtime/work_queue.h"

// The types that CUDA leaves open; a handle is the address of one.
struct CUstream_st {
  bool blocking = true;  // waits for the default stream, and the default stream for it
  codegen::simt::OperationPtr last;
  std::shared_ptr<codegen::simt::Capture> capture;  // null unless capturing
  std::vector<std::size_t> frontier;                // nodes of the capture that the next waits for
};

struct CUevent_st {
  bool timed = true;
  codegen::simt::OperationPtr record;  // null: never recorded
  std::shared_ptr<std::chrono::microseconds> time;
  std::shared_ptr<codegen::simt::Capture> capture;  // not null: recorded while capturing
  std::vector<std::size_t> frontier;
};

struct CUgraph_st {
  std::vector<codegen::simt::GraphNode> nodes;
};

struct CUgraphExec_st {
  std::vector<codegen::simt::GraphNode> nodes;
  codegen::simt::OperationPtr last;  // launches of one graph follow each other
};

namespace codegen::simt {

// Owners by address, so that a stale handle is found out and not followed.
template <class T>
using Owned = std::map<const T*, std::unique_ptr<T>>;

// How a capture in progress takes a call: cudaStreamCaptureModeGlobal and ThreadLocal forbid what
// may wait for the device behind the scenes.
enum class Capturing { kAllows, kForbids };

struct Machine {
  explicit Machine(const Settings& chosen)
      : settings(chosen), queue(chosen.pace, chosen.seed), memory(chosen) {}

  // Whether a call of this kind may be made now.
  cudaError_t Admit(Call call, Capturing capturing);

  // Invalidates the captures that a call which may wait for the device would spoil, and refuses the
  // call if there are any.
  cudaError_t RefuseWhileCapturing();

  // The stream behind a handle; null if there is none.
  CUstream_st* FindStream(cudaStream_t handle);

  // What the next work of `stream` has to wait for.
  std::vector<OperationPtr> Before(const CUstream_st& stream) const;

  // Puts work behind that, or into the graph that the stream captures.
  cudaError_t Submit(CUstream_st& stream, std::function<void()> work, const char* name);

  // Everything from now on fails with `error`.
  void Break(cudaError_t error);

  Settings settings;
  WorkQueue queue;
  MemoryMap memory;
  Counters counters;
  std::vector<Fault> faults;
  cudaError_t sticky = cudaSuccess;
  cudaError_t reported = cudaSuccess;  // by the work that runs
  bool running = false;                // some work, on some thread
  std::chrono::microseconds clock{0};

  CUstream_st default_stream;
  Owned<CUstream_st> streams;
  Owned<CUevent_st> events;
  Owned<CUgraph_st> graphs;
  Owned<CUgraphExec_st> executables;
  std::vector<std::shared_ptr<Capture>> captures;     // in progress
  std::map<const void*, std::size_t> dynamic_shared;  // by function, where it was raised

 private:
  cudaError_t TakeFault(Call call);
  cudaError_t RefuseImplicitDependency();
};

// Holds the machine while it lives.
class MachineLock {
 public:
  MachineLock();

  Machine& operator*() const { return *machine_; }
  Machine* operator->() const { return machine_; }

  // Runs work of the machine until `enough`, or until nothing is left or everything broke. The lock
  // is not held while a piece of work runs. Returns the sticky error.
  cudaError_t RunUntil(absl::FunctionRef<bool()> enough);
  cudaError_t RunUntilDone(const OperationPtr& operation);
  cudaError_t RunAll();
  // Runs one piece, unless another thread does or none can.
  void RunOne();

 private:
  void Run(const OperationPtr& operation);

  std::unique_lock<std::mutex> lock_;
  Machine* machine_;
};

// Whether this thread runs a host function, which may not call CUDA.
bool RunsDeviceWork();

// Keeps an error for cudaGetLastError of this thread, and returns it.
cudaError_t Remember(cudaError_t error);

template <class Body>
cudaError_t Api(Call call, Capturing capturing, Body body) {
  if (RunsDeviceWork()) return Remember(cudaErrorNotPermitted);
  MachineLock machine;
  if (const cudaError_t error = machine->Admit(call, capturing); error != cudaSuccess)
    return Remember(error);
  const cudaError_t error = body(machine);
  if (machine->queue.eager()) machine.RunAll();
  return Remember(machine->sticky != cudaSuccess ? machine->sticky : error);
}

// The same for calls that give something back: they do that much on a broken device too.
template <class Body>
cudaError_t ReleaseApi(Body body) {
  if (RunsDeviceWork()) return Remember(cudaErrorNotPermitted);
  MachineLock machine;
  const cudaError_t error = body(machine);
  return Remember(machine->sticky != cudaSuccess ? machine->sticky : error);
}

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_MACHINE_H_
