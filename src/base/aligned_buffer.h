// SPDX-License-Identifier: Apache-2.0
//
// Zeroed memory for numbers, aligned to a cache line. Large buffers are mapped on their own and
// advised to use huge pages: a decode step streams all weights once, and 4 KiB pages cost it 5 to
// 15 % of the bandwidth. Their pages are backed when first touched.
#ifndef CODEGEN_BASE_ALIGNED_BUFFER_H_
#define CODEGEN_BASE_ALIGNED_BUFFER_H_

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace codegen::base {

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
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t mapped_ = 0;  // bytes of an own mapping that starts at data_; 0: from the heap
};

}  // namespace codegen::base

#endif  // CODEGEN_BASE_ALIGNED_BUFFER_H_
