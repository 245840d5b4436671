// SPDX-License-Identifier: Apache-2.0
//
// cudaMemcpy* and cudaMemset*.
//
// A copy between a device and pinned memory happens when its turn comes, and reads its source only
// then. Pageable memory is out of reach for a device: what comes from there is taken at once, what
// goes there is waited for, and neither may be captured. (CUDA captures some of these; what a
// launch of that graph would read is rarely what was meant.)
#include <cuda_runtime_api.h>

#include <cstring>
#include <memory>
#include <vector>

#include "support/simt/runtime/machine.h"
#include "support/simt/runtime/streams.h"

namespace codegen::simt {
namespace {

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

bool IsDevice(const Machine& machine, const void* data) {
  return machine.memory.KindOf(data) == MemoryKind::kDevice;
}

bool IsPageable(const Machine& machine, const void* data) {
  return machine.memory.KindOf(data) == MemoryKind::kPageable;
}

bool IsInBounds(const Machine& machine, const Copy& copy) {
  return machine.memory.Holds(copy.to, copy.bytes) && machine.memory.Holds(copy.from, copy.bytes);
}

bool HasDirection(const Machine& machine, const Copy& copy, cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDefault) return true;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  return IsDevice(machine, copy.from) == from_device && IsDevice(machine, copy.to) == to_device;
}

// Memory that was there when the copy was captured may be gone when the graph runs.
void RunCopy(const Copy& copy) {
  const bool valid = [&copy] {
    const MachineLock machine;
    return !IsPageable(*machine, copy.to) && !IsPageable(*machine, copy.from) &&
           IsInBounds(*machine, copy);
  }();
  if (!valid) return ReportFault(cudaErrorIllegalAddress);
  std::memcpy(copy.to, copy.from, copy.bytes);
}

cudaError_t SubmitFromPageable(Machine& machine, CUstream_st& stream, const Copy& copy) {
  const auto* begin = static_cast<const std::byte*>(copy.from);
  auto staged = std::make_shared<std::vector<std::byte>>(begin, begin + copy.bytes);
  return machine.Submit(
      stream, [staged, to = copy.to] { std::memcpy(to, staged->data(), staged->size()); },
      "copy from pageable memory");
}

cudaError_t RunToPageable(MachineLock& machine, CUstream_st& stream, const Copy& copy) {
  const cudaError_t error = machine->Submit(
      stream, [copy] { std::memcpy(copy.to, copy.from, copy.bytes); }, "copy to pageable memory");
  return error == cudaSuccess ? machine.RunUntilDone(stream.last) : error;
}

cudaError_t CopyPageable(MachineLock& machine, CUstream_st& stream, const Copy& copy) {
  if (stream.capture != nullptr) {
    stream.capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  ++machine->counters.pageable_copies;
  return IsPageable(*machine, copy.to) ? RunToPageable(machine, stream, copy)
                                       : SubmitFromPageable(*machine, stream, copy);
}

cudaError_t CopyInStream(MachineLock& machine, cudaStream_t handle, const Copy& copy,
                         cudaMemcpyKind kind) {
  CUstream_st* stream = machine->FindStream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (copy.bytes == 0) return cudaSuccess;
  if (!IsInBounds(*machine, copy)) return cudaErrorInvalidValue;
  if (!HasDirection(*machine, copy, kind)) return cudaErrorInvalidMemcpyDirection;
  if (stream->capture == nullptr) ++machine->counters.copies;
  if (IsPageable(*machine, copy.to) || IsPageable(*machine, copy.from))
    return CopyPageable(machine, *stream, copy);
  return machine->Submit(
      *stream, [copy] { RunCopy(copy); }, "copy");
}

void RunFill(void* to, int value, std::size_t bytes) {
  if (!IsDeviceMemory(to, bytes)) return ReportFault(cudaErrorIllegalAddress);
  std::memset(to, value, bytes);
}

cudaError_t FillInStream(MachineLock& machine, cudaStream_t handle, void* to, int value,
                         std::size_t bytes) {
  CUstream_st* stream = machine->FindStream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  if (!IsDevice(*machine, to) || !machine->memory.Holds(to, bytes)) return cudaErrorInvalidValue;
  if (stream->capture == nullptr) ++machine->counters.copies;
  return machine->Submit(
      *stream, [=] { RunFill(to, value, bytes); }, "fill");
}

}  // namespace
}  // namespace codegen::simt

using codegen::simt::Api;
using codegen::simt::Call;
using codegen::simt::Capturing;
using codegen::simt::MachineLock;

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return Api(Call::kCopy, Capturing::kAllows, [&](MachineLock& machine) {
    const codegen::simt::Copy copy = {.to = to, .from = from, .bytes = bytes};
    return codegen::simt::CopyInStream(machine, stream, copy, kind);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return Api(Call::kCopy, Capturing::kForbids, [&](MachineLock& machine) {
    const codegen::simt::Copy copy = {.to = to, .from = from, .bytes = bytes};
    const cudaError_t error = codegen::simt::CopyInStream(machine, nullptr, copy, kind);
    if (error != cudaSuccess) return error;
    ++machine->counters.synchronizations;
    return machine.RunUntilDone(
        machine->queue.Submit({}, machine->Before(machine->default_stream)));
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return Api(Call::kCopy, Capturing::kAllows, [&](MachineLock& machine) {
    return codegen::simt::FillInStream(machine, stream, to, value, bytes);
  });
}
