// SPDX-License-Identifier: Apache-2.0
#include "base/aligned_buffer.h"

#include <absl/status/status.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
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

// From this size on, a buffer of an arena is worth its place there.
constexpr std::int64_t kLeastMapped = std::int64_t{64} << 10;
// Of an arena, unless one buffer takes more. Addresses only: pages are backed when touched.
constexpr std::size_t kArenaBytes = std::size_t{64} << 20;

absl::Status CannotAllocate(std::int64_t bytes) {
  return absl::ResourceExhaustedError(fmt::format("memory: cannot allocate {} bytes", bytes));
}

// No sum of sizes below this overflows.
bool IsPossible(std::int64_t bytes) {
  return bytes >= 0 && bytes < std::numeric_limits<std::int64_t>::max() / 2;
}

constexpr std::size_t RoundUp(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

// Zeroed memory that starts at a huge page.
class HugeMapping {
 public:
  // Of at least `bytes`; nullptr on failure.
  static std::shared_ptr<const HugeMapping> Make(std::size_t bytes);

  HugeMapping(std::byte* data, std::size_t size) : data_(data), size_(size) {}
  HugeMapping(const HugeMapping&) = delete;
  HugeMapping& operator=(const HugeMapping&) = delete;
  ~HugeMapping() { munmap(data_, size_); }

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_;
  std::size_t size_;
};

std::shared_ptr<const HugeMapping> HugeMapping::Make(std::size_t bytes) {
  const std::size_t size = RoundUp(bytes, kHugePage);
  void* region =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(region);
  const std::size_t lead =
      (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
  if (lead != 0) munmap(begin, lead);
  munmap(begin + lead + size, kHugePage - lead);
  madvise(begin + lead, size, MADV_HUGEPAGE);  // advice: works without
  try {
    return std::make_shared<const HugeMapping>(begin + lead, size);
  } catch (const std::bad_alloc&) {
    munmap(begin + lead, size);
    return nullptr;
  }
}

absl::StatusOr<AlignedBuffer> AlignedBuffer::Make(std::int64_t bytes) {
  AlignedBuffer buffer;
  if (bytes == 0) return buffer;
  if (!IsPossible(bytes)) return CannotAllocate(bytes);
  buffer.size_ = static_cast<std::size_t>(bytes);
  if (buffer.size_ < kHugePage) {
    buffer.data_ = HeapZeroed(buffer.size_);
  } else {
    buffer.mapping_ = HugeMapping::Make(buffer.size_);
    if (buffer.mapping_ != nullptr) buffer.data_ = buffer.mapping_->data();
  }
  if (buffer.data_ == nullptr) return CannotAllocate(bytes);
  return buffer;
}

absl::StatusOr<AlignedBuffer> AlignedArena::Make(std::int64_t bytes) {
  if (bytes < kLeastMapped) return AlignedBuffer::Make(bytes);
  if (!IsPossible(bytes)) return CannotAllocate(bytes);
  AlignedBuffer buffer;
  buffer.size_ = static_cast<std::size_t>(bytes);
  const std::lock_guard lock(mutex_);
  if (mapping_ == nullptr || buffer.size_ > mapping_->size() - used_) {
    std::shared_ptr<const HugeMapping> next =
        HugeMapping::Make(std::max(kArenaBytes, buffer.size_));
    if (next == nullptr) return CannotAllocate(bytes);
    mapping_ = std::move(next);
    used_ = 0;
  }
  buffer.mapping_ = mapping_;
  buffer.data_ = mapping_->data() + used_;
  used_ = std::min(mapping_->size(), RoundUp(used_ + buffer.size_, AlignedBuffer::kAlignment));
  return buffer;
}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  return *this;
}

AlignedBuffer::~AlignedBuffer() {
  if (mapping_ == nullptr) ::operator delete(data_, kAlign);  // of nullptr: nothing
}

}  // namespace codegen::base
