// SPDX-License-Identifier: Apache-2.0
#include "support/simt/shared_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <new>

#include "support/simt/sanitizers.h"

namespace codegen::simt {
namespace {

constexpr std::size_t kGuardBytes = sanitizers::kAddress ? 0 : 256;
constexpr std::byte kGuard{0xA5};

}  // namespace

SharedMemory::SharedMemory(std::size_t dynamic_bytes, unsigned char poison) : poison_(poison) {
  Add(nullptr, dynamic_bytes);
}

void* SharedMemory::Static(const void* key, std::size_t bytes) {
  for (const Area& area : areas_)
    if (area.key == key) return area.memory.get();
  static_bytes_ += bytes;
  return Add(key, bytes);
}

bool SharedMemory::Contains(const void* data, std::size_t bytes) const {
  const auto* begin = static_cast<const std::byte*>(data);
  return std::any_of(areas_.begin(), areas_.end(), [&](const Area& area) {
    const std::byte* end = area.memory.get() + area.bytes;
    return std::less_equal<>()(area.memory.get(), begin) && std::less_equal<>()(begin, end) &&
           bytes <= static_cast<std::size_t>(end - begin);
  });
}

bool SharedMemory::Intact() const {
  return std::all_of(areas_.begin(), areas_.end(), [](const Area& area) {
    const std::byte* guard = area.memory.get() + area.bytes;
    return std::all_of(guard, guard + kGuardBytes, [](std::byte byte) { return byte == kGuard; });
  });
}

void* SharedMemory::Add(const void* key, std::size_t bytes) {
  auto* memory =
      static_cast<std::byte*>(::operator new (bytes + kGuardBytes, std::align_val_t{kAlignment}));
  areas_.push_back({key, bytes, std::unique_ptr<std::byte, Free>(memory)});
  std::memset(memory, poison_, bytes);
  std::memset(memory + bytes, static_cast<int>(kGuard), kGuardBytes);
  MarkUninitialized(memory, bytes);
  return memory;
}

void SharedMemory::Free::operator()(std::byte* memory) const {
  ::operator delete (memory, std::align_val_t{kAlignment});
}

}  // namespace codegen::simt
