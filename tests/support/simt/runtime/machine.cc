// SPDX-License-Identifier: Apache-2.0
#include "support/simt/runtime/machine.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <utility>

#include "support/simt/runtime/current.h"
#include "support/simt/runtime/streams.h"

namespace codegen::simt {
namespace {

// The one of this process.
struct SharedMachine {
  std::mutex mutex;
  std::condition_variable changed;  // some work has ended
  std::unique_ptr<Machine> machine = std::make_unique<Machine>(Settings{});
};

SharedMachine& TheMachine() {
  static SharedMachine shared;
  return shared;
}

thread_local bool runs_device_work = false;

bool Concerns(const Fault& fault, Call call) {
  return fault.nth > 0 && (fault.call == Call::kAny || fault.call == call);
}

}  // namespace

cudaError_t Machine::Admit(Call call, Capturing capturing) {
  if (settings.driver == Driver::kNoDevice) return cudaErrorNoDevice;
  if (settings.driver != Driver::kPresent) return cudaErrorInsufficientDriver;
  if (sticky != cudaSuccess) return sticky;
  if (capturing == Capturing::kForbids)
    if (const cudaError_t error = RefuseWhileCapturing(); error != cudaSuccess) return error;
  return TakeFault(call);
}

cudaError_t Machine::TakeFault(Call call) {
  cudaError_t error = cudaSuccess;
  for (Fault& fault : faults) {
    if (!Concerns(fault, call) || --fault.nth > 0) continue;
    error = fault.error;
    if (fault.lasting == Lasting::kSticky) Break(error);
  }
  return error;
}

cudaError_t Machine::RefuseWhileCapturing() {
  cudaError_t error = cudaSuccess;
  for (const std::shared_ptr<Capture>& capture : captures) {
    if (!capture->Forbids()) continue;
    capture->invalid = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

// The default stream waits for blocking streams, and so cannot be used while one of them captures.
cudaError_t Machine::RefuseImplicitDependency() {
  cudaError_t error = cudaSuccess;
  for (const auto& [handle, stream] : streams) {
    if (!stream->blocking || stream->capture == nullptr) continue;
    stream->capture->invalid = true;
    error = cudaErrorStreamCaptureImplicit;
  }
  return error;
}

CUstream_st* Machine::FindStream(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return &default_stream;
  const auto found = streams.find(handle);
  return found == streams.end() ? nullptr : found->second.get();
}

std::vector<OperationPtr> Machine::Before(const CUstream_st& stream) const {
  std::vector<OperationPtr> before = {stream.last};
  if (&stream == &default_stream) {
    for (const auto& [handle, other] : streams)
      if (other->blocking) before.push_back(other->last);
  } else if (stream.blocking) {
    before.push_back(default_stream.last);
  }
  return before;
}

cudaError_t Machine::Submit(CUstream_st& stream, std::function<void()> work, const char* name) {
  if (stream.capture != nullptr) {
    Capture& capture = *stream.capture;
    if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
    capture.nodes.push_back({.work = std::move(work), .name = name, .before = stream.frontier});
    stream.frontier = {capture.nodes.size() - 1};
    return cudaSuccess;
  }
  if (&stream == &default_stream)
    if (const cudaError_t error = RefuseImplicitDependency(); error != cudaSuccess) return error;
  stream.last = queue.Submit({.work = std::move(work), .name = name}, Before(stream));
  return cudaSuccess;
}

void Machine::Break(cudaError_t error) {
  if (sticky == cudaSuccess) sticky = error;
  queue.Abandon();
}

MachineLock::MachineLock() : lock_(TheMachine().mutex), machine_(TheMachine().machine.get()) {}

cudaError_t MachineLock::RunUntil(absl::FunctionRef<bool()> enough) {
  while (!enough()) {
    if (machine_->running) {
      TheMachine().changed.wait(lock_);
      continue;
    }
    const OperationPtr next = machine_->sticky == cudaSuccess ? machine_->queue.Take() : nullptr;
    if (next == nullptr) break;
    Run(next);
  }
  return machine_->sticky;
}

cudaError_t MachineLock::RunUntilDone(const OperationPtr& operation) {
  WorkQueue::Want(operation);
  return RunUntil([&operation] { return operation->done; });
}

cudaError_t MachineLock::RunAll() {
  return RunUntil([this] { return machine_->queue.empty(); });
}

void MachineLock::RunOne() {
  if (machine_->running) return;
  if (const OperationPtr next = machine_->queue.Take(); next != nullptr) Run(next);
}

void MachineLock::Run(const OperationPtr& operation) {
  const std::function<void()> work = std::move(operation->work);
  if (work != nullptr) {
    machine_->running = true;
    lock_.unlock();
    runs_device_work = true;
    work();
    runs_device_work = false;
    lock_.lock();
    machine_->running = false;
    machine_->clock += std::chrono::microseconds(1);
  }
  machine_->queue.Finish(*operation);
  if (machine_->reported != cudaSuccess) machine_->Break(machine_->reported);
  TheMachine().changed.notify_all();
}

bool RunsDeviceWork() { return runs_device_work; }

void ReportFault(cudaError_t error) {
  const MachineLock machine;
  if (machine->reported == cudaSuccess) machine->reported = error;
}

void SpendDeviceTime(std::chrono::microseconds time) {
  const MachineLock machine;
  machine->clock += time;
}

bool IsDeviceMemory(const void* data, std::size_t bytes) {
  const MachineLock machine;
  const MemoryMap& memory = machine->memory;
  return memory.KindOf(data) == MemoryKind::kDevice && memory.Holds(data, bytes);
}

void Reset(const Settings& settings) {
  static_cast<void>(cudaGetLastError());
  ForgetCurrentDevices();
  SharedMachine& shared = TheMachine();
  const std::lock_guard lock(shared.mutex);
  shared.machine->queue.Abandon();
  shared.machine = std::make_unique<Machine>(settings);
}

void Inject(const Fault& fault) { MachineLock()->faults.push_back(fault); }

bool HasPendingFaults() {
  const MachineLock machine;
  return std::any_of(machine->faults.begin(), machine->faults.end(),
                     [](const Fault& fault) { return fault.nth > 0; });
}

Counters Count() {
  const MachineLock machine;
  Counters counters = machine->counters;
  counters.live_allocations = static_cast<std::int64_t>(machine->memory.allocations());
  counters.live_streams = static_cast<std::int64_t>(machine->streams.size());
  counters.live_events = static_cast<std::int64_t>(machine->events.size());
  counters.live_graphs =
      static_cast<std::int64_t>(machine->graphs.size() + machine->executables.size());
  return counters;
}

}  // namespace codegen::simt
