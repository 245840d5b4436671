// SPDX-License-Identifier: Apache-2.0
//
// Owned memory that a device can reach.
//
// All of it is taken when a model is loaded or a batcher made, and a step takes none: cudaMalloc
// may wait for the device, and another process may have taken the rest meanwhile.
#ifndef CODEGEN_CUDA_BUFFER_H_
#define CODEGEN_CUDA_BUFFER_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace codegen::cuda {

// How much of the memory of a device we may use. A buffer takes its bytes from it when it is made
// and gives them back when it goes, so the budget has to outlive it. What CUDA rounds up or needs
// for itself is not counted. May be used from several threads at once.
class MemoryBudget {
 public:
  // Requires: bytes >= 0.
  explicit MemoryBudget(std::int64_t bytes) : bytes_(bytes), free_(bytes) {}

  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  std::int64_t bytes() const { return bytes_; }
  std::int64_t free_bytes() const { return free_.load(); }

  // RESOURCE_EXHAUSTED, and nothing taken, if fewer are free. Requires: bytes >= 0.
  absl::Status Take(std::int64_t bytes);
  // Requires: that many were taken.
  void Return(std::int64_t bytes);

 private:
  const std::int64_t bytes_;
  std::atomic<std::int64_t> free_;
};

// Frees memory of a device and returns it to its budget.
struct FreeDeviceMemory {
  MemoryBudget* budget = nullptr;
  std::int64_t bytes = 0;

  void operator()(std::byte* data) const;
};

// Memory of the device that was current when it was made. Contents are unspecified at first.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;  // of no bytes

  // RESOURCE_EXHAUSTED if the budget or the device has less. Requires: bytes >= 0.
  static absl::StatusOr<DeviceBuffer> Create(MemoryBudget& budget, std::int64_t bytes);

  // Aligned to 256 bytes; null if there are none.
  std::byte* data() const { return data_.get(); }
  std::int64_t bytes() const { return data_ == nullptr ? 0 : data_.get_deleter().bytes; }

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data());
  }

 private:
  explicit DeviceBuffer(std::unique_ptr<std::byte, FreeDeviceMemory> data)
      : data_(std::move(data)) {}

  std::unique_ptr<std::byte, FreeDeviceMemory> data_;
};

struct FreePinnedMemory {
  std::int64_t bytes = 0;

  void operator()(std::byte* data) const;
};

// Memory of the host that the device reaches by itself, so that copies run beside everything else.
// Whoever has put a copy into a stream leaves the bytes alone until an event says that it is done.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;  // of no bytes

  // RESOURCE_EXHAUSTED if the system gives no more such memory. Requires: bytes >= 0.
  static absl::StatusOr<PinnedBuffer> Create(std::int64_t bytes);

  std::byte* data() const { return data_.get(); }
  std::int64_t bytes() const { return data_ == nullptr ? 0 : data_.get_deleter().bytes; }

  // As many elements as fit.
  template <class T>
  std::span<T> as() const {
    return {reinterpret_cast<T*>(data()), static_cast<std::size_t>(bytes()) / sizeof(T)};
  }

 private:
  explicit PinnedBuffer(std::unique_ptr<std::byte, FreePinnedMemory> data)
      : data_(std::move(data)) {}

  std::unique_ptr<std::byte, FreePinnedMemory> data_;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_BUFFER_H_
