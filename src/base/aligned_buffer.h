// SPDX-License-Identifier: Apache-2.0
//
// Zeroed memory for numbers, aligned to a cache line. Large buffers are mapped and advised to use
// huge pages: a decode step streams all weights once, and 4 KiB pages cost it 5 to 15 % of the
// bandwidth. Their pages are backed when first touched.
//
// The system zeroes whole pages. A matrix of 4 MiB and a little that is mapped on its own costs the
// zeroing, and the memory, of 6; so buffers that live together come from one AlignedArena, end to
// end. An int8 model of 350M takes a sixth fewer huge pages that way.
#ifndef CODEGEN_BASE_ALIGNED_BUFFER_H_
#define CODEGEN_BASE_ALIGNED_BUFFER_H_

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

namespace codegen::base {

class HugeMapping;

class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  // All zero. RESOURCE_EXHAUSTED, naming the bytes, if the system has no memory (or bytes < 0, as
  // from an overflow).
  static absl::StatusOr<AlignedBuffer> Make(std::int64_t bytes);

  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept { *this = static_cast<AlignedBuffer&&>(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  ~AlignedBuffer();

  std::int64_t size() const { return static_cast<std::int64_t>(size_); }
  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }

  template <class T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(data_), size_ / sizeof(T)};
  }
  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(data_), size_ / sizeof(T)};
  }

 private:
  friend class AlignedArena;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::shared_ptr<const HugeMapping> mapping_;  // that data_ is part of; nullptr: from the heap
};

// Makes buffers that lie end to end in a few large mappings, each of which goes with the last of
// its buffers and the arena. Small ones come from the heap. Safe to use from several threads.
class AlignedArena {
 public:
  // As AlignedBuffer::Make.
  absl::StatusOr<AlignedBuffer> Make(std::int64_t bytes);

 private:
  std::mutex mutex_;
  // Guarded by mutex_: what new buffers are taken from, and how many bytes of it are gone.
  std::shared_ptr<const HugeMapping> mapping_;
  std::size_t used_ = 0;
};

}  // namespace codegen::base

#endif  // CODEGEN_BASE_ALIGNED_BUFFER_H_
