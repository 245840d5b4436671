// SPDX-License-Identifier: Apache-2.0
//
// cudaMalloc and its kin. As on a device, to free is to wait for everything that still runs.
#include <cuda_runtime_api.h>

#include "support/simt/runtime/current.h"
#include "support/simt/runtime/machine.h"

namespace codegen::simt {
namespace {

cudaError_t Allocate(MemoryKind kind, void** out, std::size_t bytes) {
  return Api(Call::kAllocate, Capturing::kForbids, [&](MachineLock& machine) {
    const cudaError_t error = machine->memory.Allocate(kind, CurrentDevice(), bytes, out);
    if (error == cudaSuccess) ++machine->counters.allocations;
    return error;
  });
}

cudaError_t Free(MemoryKind kind, void* data) {
  return ReleaseApi([&](MachineLock& machine) {
    if (data == nullptr) return cudaSuccess;
    if (const cudaError_t error = machine->RefuseWhileCapturing(); error != cudaSuccess)
      return error;
    machine.RunAll();
    const cudaError_t error = machine->memory.Free(kind, data);
    if (error == cudaSuccess) ++machine->counters.frees;
    return error;
  });
}

}  // namespace
}  // namespace codegen::simt

using codegen::simt::MemoryKind;

cudaError_t cudaMalloc(void** out, std::size_t bytes) {
  return codegen::simt::Allocate(MemoryKind::kDevice, out, bytes);
}

cudaError_t cudaMallocHost(void** out, std::size_t bytes) {
  return codegen::simt::Allocate(MemoryKind::kPinned, out, bytes);
}

cudaError_t cudaHostAlloc(void** out, std::size_t bytes, unsigned int /*flags*/) {
  return codegen::simt::Allocate(MemoryKind::kPinned, out, bytes);
}

cudaError_t cudaFree(void* data) { return codegen::simt::Free(MemoryKind::kDevice, data); }

cudaError_t cudaFreeHost(void* data) { return codegen::simt::Free(MemoryKind::kPinned, data); }

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  using codegen::simt::Call;
  using codegen::simt::Capturing;
  return codegen::simt::Api(Call::kOther, Capturing::kAllows,
                            [&](codegen::simt::MachineLock& machine) {
                              *free = machine->memory.free_bytes(codegen::simt::CurrentDevice());
                              *total = machine->settings.memory_bytes;
                              return cudaSuccess;
                            });
}
