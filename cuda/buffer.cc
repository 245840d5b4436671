// SPDX-License-Identifier: Apache-2.0
#include "cuda/buffer.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <string>

#include "base/check.h"
#include "cuda/check.h"

namespace codegen::cuda {
namespace {

std::string FreeMemoryText() {
  std::size_t free = 0;
  std::size_t total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return "";
  return fmt::format("; {} of its {} bytes are free", free, total);
}

absl::Status CheckDeviceAllocation(cudaError_t error, std::int64_t bytes) {
  std::string what = fmt::format("allocating {} bytes of GPU memory", bytes);
  if (error == cudaErrorMemoryAllocation) what += FreeMemoryText();
  return Check(error, what);
}

}  // namespace

absl::Status MemoryBudget::Take(std::int64_t bytes) {
  CODEGEN_DCHECK(bytes >= 0);
  std::int64_t free = free_.load();
  do {
    if (bytes > free)
      return absl::ResourceExhaustedError(
          fmt::format("{} bytes of GPU memory wanted, {} of the {} that may be used are free",
                      bytes, free, bytes_));
  } while (!free_.compare_exchange_weak(free, free - bytes));
  return absl::OkStatus();
}

void MemoryBudget::Return(std::int64_t bytes) {
  const std::int64_t free = free_.fetch_add(bytes) + bytes;
  CODEGEN_DCHECK(bytes >= 0 && free <= bytes_);
  static_cast<void>(free);
}

absl::StatusOr<DeviceBuffer> DeviceBuffer::Create(MemoryBudget& budget, std::int64_t bytes) {
  if (bytes == 0) return DeviceBuffer();
  CODEGEN_RETURN_IF_ERROR(budget.Take(bytes));
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<std::size_t>(bytes));
  if (error != cudaSuccess) {
    budget.Return(bytes);
    return CheckDeviceAllocation(error, bytes);
  }
  return DeviceBuffer(std::unique_ptr<std::byte, FreeDeviceMemory>(
      static_cast<std::byte*>(data), FreeDeviceMemory{.budget = &budget, .bytes = bytes}));
}

void FreeDeviceMemory::operator()(std::byte* data) const {
  static_cast<void>(cudaFree(data));
  budget->Return(bytes);
}

absl::StatusOr<PinnedBuffer> PinnedBuffer::Create(std::int64_t bytes) {
  CODEGEN_DCHECK(bytes >= 0);
  if (bytes == 0) return PinnedBuffer();
  void* data = nullptr;
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaHostAlloc(&data, static_cast<std::size_t>(bytes), cudaHostAllocDefault),
            fmt::format("allocating {} bytes of pinned memory", bytes)));
  return PinnedBuffer(std::unique_ptr<std::byte, FreePinnedMemory>(
      static_cast<std::byte*>(data), FreePinnedMemory{.bytes = bytes}));
}

void FreePinnedMemory::operator()(std::byte* data) const { static_cast<void>(cudaFreeHost(data)); }

}  // namespace codegen::cuda
