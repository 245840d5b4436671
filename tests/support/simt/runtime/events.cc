// SPDX-License-Identifier: Apache-2.0
//
// cudaEvent*. The time between events is that of the pretend clock.
#include <cuda_runtime_api.h>

#include <chrono>
#include <memory>
#include <utility>

#include "support/simt/runtime/machine.h"
#include "support/simt/runtime/streams.h"

namespace codegen::simt {
namespace {

void Record(Machine& machine, CUstream_st& stream, CUevent_st& event) {
  event.time = std::make_shared<std::chrono::microseconds>();
  const auto stamp = [time = event.time] { *time = MachineLock()->clock; };
  event.capture = nullptr;
  event.record = machine.queue.Submit({.work = stamp, .name = "event"}, machine.Before(stream));
  stream.last = event.record;
}

void RecordCaptured(const CUstream_st& stream, CUevent_st& event) {
  event.capture = stream.capture;
  event.frontier = stream.frontier;
  event.record = nullptr;
}

// Whether anybody may ask for the state of an event, and which it is.
cudaError_t StateOf(const CUevent_st& event) {
  if (event.capture != nullptr) {
    event.capture->invalid = true;
    return cudaErrorCapturedEvent;
  }
  return event.record == nullptr || event.record->done ? cudaSuccess : cudaErrorNotReady;
}

}  // namespace
}  // namespace codegen::simt

using codegen::simt::Api;
using codegen::simt::Call;
using codegen::simt::Capturing;
using codegen::simt::MachineLock;
using codegen::simt::ReleaseApi;

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned int flags) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    auto event = std::make_unique<CUevent_st>();
    event->timed = (flags & cudaEventDisableTiming) == 0;
    *out = event.get();
    machine->events.emplace(*out, std::move(event));
    return cudaSuccess;
  });
}

// Another function of the same name, for C++, has flags.
cudaError_t cudaEventCreate(cudaEvent_t* out) {
  return cudaEventCreateWithFlags(out, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return ReleaseApi([&](MachineLock& machine) {
    return machine->events.erase(handle) == 1 ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    CUstream_st* stream = machine->FindStream(stream_handle);
    const auto found = machine->events.find(handle);
    if (stream == nullptr || found == machine->events.end()) return cudaErrorInvalidResourceHandle;
    if (stream->capture == nullptr) {
      codegen::simt::Record(*machine, *stream, *found->second);
      return cudaSuccess;
    }
    codegen::simt::RecordCaptured(*stream, *found->second);
    return stream->capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  });
}

// Lets a piece of work run, so that a loop of queries ends.
cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return Api(Call::kPoll, Capturing::kForbids, [&](MachineLock& machine) {
    const auto found = machine->events.find(handle);
    if (found == machine->events.end()) return cudaErrorInvalidResourceHandle;
    ++machine->counters.polls;
    const CUevent_st& event = *found->second;
    if (codegen::simt::StateOf(event) == cudaErrorNotReady) machine.RunOne();
    return codegen::simt::StateOf(event);
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return Api(Call::kSynchronize, Capturing::kForbids, [&](MachineLock& machine) {
    const auto found = machine->events.find(handle);
    if (found == machine->events.end()) return cudaErrorInvalidResourceHandle;
    const CUevent_st& event = *found->second;
    const cudaError_t state = codegen::simt::StateOf(event);
    if (state == cudaErrorCapturedEvent) return state;
    ++machine->counters.synchronizations;
    return state == cudaErrorNotReady ? machine.RunUntilDone(event.record) : cudaSuccess;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    const auto first = machine->events.find(from);
    const auto last = machine->events.find(to);
    for (const auto& found : {first, last}) {
      if (found == machine->events.end() || !found->second->timed ||
          found->second->record == nullptr)
        return cudaErrorInvalidResourceHandle;
      if (!found->second->record->done) return cudaErrorNotReady;
    }
    const std::chrono::duration<float, std::milli> time =
        *last->second->time - *first->second->time;
    *milliseconds = time.count();
    return cudaSuccess;
  });
}
