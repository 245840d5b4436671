// SPDX-License-Identifier: Apache-2.0
#include "base/aligned_buffer.h"

#include <absl/status/status.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace codegen::base {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::align_val_t kAlign{AlignedBuffer::kAlignment};

std::byte* HeapZeroed(std::size_t bytes) {
  void* data = ::operator new(bytes, kAlign, std::nothrow);
  if (data != nullptr) std::memset(data, 0, bytes);
  return static_cast<std::byte*>(data);
}

// A mapping of `bytes`, a multiple of kHugePage, that starts at a huge page; nullptr on failure.
std::byte* MapHuge(std::size_t bytes) {
  void* region =
      mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(region);
  const std::size_t lead =
      (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
  if (lead != 0) munmap(begin, lead);
  munmap(begin + lead + bytes, kHugePage - lead);
  madvise(begin + lead, bytes, MADV_HUGEPAGE);  // advice: works without
  return begin + lead;
}

}  // namespace

absl::StatusOr<AlignedBuffer> AlignedBuffer::Make(std::int64_t bytes) {
  AlignedBuffer buffer;
  if (bytes == 0) return buffer;
  if (bytes > 0 && bytes < std::numeric_limits<std::int64_t>::max() / 2) {
    buffer.size_ = static_cast<std::size_t>(bytes);
    if (buffer.size_ < kHugePage) {
      buffer.data_ = HeapZeroed(buffer.size_);
    } else {
      buffer.mapped_ = (buffer.size_ + kHugePage - 1) / kHugePage * kHugePage;
      buffer.data_ = MapHuge(buffer.mapped_);
    }
  }
  if (buffer.data_ == nullptr)
    return absl::ResourceExhaustedError(fmt::format("memory: cannot allocate {} bytes", bytes));
  return buffer;
}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

AlignedBuffer::~AlignedBuffer() {
  if (data_ == nullptr) return;
  if (mapped_ != 0) {
    munmap(data_, mapped_);
  } else {
    ::operator delete(data_, kAlign);
  }
}

}  // namespace codegen::base
