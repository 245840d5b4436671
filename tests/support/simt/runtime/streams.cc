// SPDX-License-Identifier: Apache-2.0
//
// cudaStream*, cudaDeviceSynchronize, cudaLaunchHostFunc and what kernels are launched by.
#include "support/simt/runtime/streams.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "support/simt/runtime/machine.h"

namespace codegen::simt {
namespace {

// A stream that captures has nothing to wait for, and asking is fatal for the capture.
cudaError_t RefuseIfCapturing(const CUstream_st& stream) {
  if (stream.capture == nullptr) return cudaSuccess;
  stream.capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

// Makes a stream wait for an event that was recorded by a stream of a capture, and by that a part
// of the capture.
cudaError_t Join(CUstream_st& stream, const CUevent_st& event) {
  if (event.capture->ended) return cudaErrorCapturedEvent;
  if (event.capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (stream.capture != nullptr && stream.capture != event.capture) {
    stream.capture->invalid = event.capture->invalid = true;
    return cudaErrorStreamCaptureMerge;
  }
  stream.capture = event.capture;
  stream.frontier.insert(stream.frontier.end(), event.frontier.begin(), event.frontier.end());
  return cudaSuccess;
}

cudaError_t Wait(Machine& machine, CUstream_st& stream, const CUevent_st& event) {
  if (event.capture != nullptr) {
    return &stream == &machine.default_stream ? cudaErrorStreamCaptureImplicit
                                              : Join(stream, event);
  }
  if (event.record == nullptr) return cudaSuccess;
  if (stream.capture != nullptr) {
    stream.capture->invalid = true;
    return cudaErrorStreamCaptureIsolation;
  }
  std::vector<OperationPtr> before = machine.Before(stream);
  before.push_back(event.record);
  stream.last = machine.queue.Submit({.name = "wait for an event"}, before);
  return cudaSuccess;
}

// Puts work into a stream and counts it in one of the counters unless it is captured.
cudaError_t SubmitCounted(Machine& machine, cudaStream_t handle, std::function<void()> work,
                          const char* name, std::int64_t Counters::*counter) {
  CUstream_st* stream = machine.FindStream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  const cudaError_t error = machine.Submit(*stream, std::move(work), name);
  if (error == cudaSuccess && stream->capture == nullptr) ++(machine.counters.*counter);
  return error;
}

}  // namespace

cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work, const char* name) {
  return Api(Call::kLaunch, Capturing::kAllows, [&](MachineLock& machine) {
    return SubmitCounted(*machine, stream, std::move(work), name, &Counters::launches);
  });
}

}  // namespace codegen::simt

using codegen::simt::Api;
using codegen::simt::Call;
using codegen::simt::Capturing;
using codegen::simt::MachineLock;
using codegen::simt::ReleaseApi;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned int flags) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    auto stream = std::make_unique<CUstream_st>();
    stream->blocking = (flags & cudaStreamNonBlocking) == 0;
    *out = stream.get();
    machine->streams.emplace(*out, std::move(stream));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreate(cudaStream_t* out) {
  return cudaStreamCreateWithFlags(out, cudaStreamDefault);
}

// What the stream still holds is done nevertheless.
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return ReleaseApi([&](MachineLock& machine) {
    const auto found = machine->streams.find(handle);
    if (found == machine->streams.end()) return cudaErrorInvalidResourceHandle;
    if (found->second->capture != nullptr) found->second->capture->invalid = true;
    machine->streams.erase(found);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return Api(Call::kSynchronize, Capturing::kForbids, [&](MachineLock& machine) {
    const CUstream_st* stream = machine->FindStream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = codegen::simt::RefuseIfCapturing(*stream);
    if (error != cudaSuccess) return error;
    ++machine->counters.synchronizations;
    return machine.RunUntilDone(machine->queue.Submit({}, machine->Before(*stream)));
  });
}

// Lets a piece of work run, so that a loop of queries ends.
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return Api(Call::kPoll, Capturing::kForbids, [&](MachineLock& machine) {
    const CUstream_st* stream = machine->FindStream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = codegen::simt::RefuseIfCapturing(*stream);
    if (error != cudaSuccess) return error;
    ++machine->counters.polls;
    const std::vector<codegen::simt::OperationPtr> before = machine->Before(*stream);
    machine.RunOne();
    const bool done = std::all_of(before.begin(), before.end(), [](const auto& operation) {
      return operation == nullptr || operation->done;
    });
    return done ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return Api(Call::kSynchronize, Capturing::kForbids, [&](MachineLock& machine) {
    ++machine->counters.synchronizations;
    return machine.RunAll();
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned int /*flags*/) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    CUstream_st* stream = machine->FindStream(handle);
    const auto found = machine->events.find(event);
    if (stream == nullptr || found == machine->events.end()) return cudaErrorInvalidResourceHandle;
    return codegen::simt::Wait(*machine, *stream, *found->second);
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    return codegen::simt::SubmitCounted(
        *machine, stream, [function, data] { function(data); }, "host function",
        &codegen::simt::Counters::host_functions);
  });
}
