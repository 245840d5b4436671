// SPDX-License-Identifier: Apache-2.0
#include "support/simt/runtime/memory_map.h"

#include <cstring>
#include <iterator>
#include <utility>

namespace codegen::simt {
namespace {

constexpr std::size_t kAlignment = 256;  // what cudaMalloc promises

std::uintptr_t Address(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

}  // namespace

MemoryMap::MemoryMap(const Settings& settings)
    : capacity_(settings.memory_bytes),
      poison_(settings.poison),
      used_(static_cast<std::size_t>(settings.devices)) {}

cudaError_t MemoryMap::Allocate(MemoryKind kind, int device, std::size_t bytes, void** out) {
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (kind == MemoryKind::kDevice && bytes > free_bytes(device)) return cudaErrorMemoryAllocation;

  void* data = nullptr;
  if (posix_memalign(&data, kAlignment, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(data, poison_, bytes);
  if (kind == MemoryKind::kDevice) used_[static_cast<std::size_t>(device)] += bytes;
  blocks_.emplace(Address(data), Block{.data = std::unique_ptr<void, Release>(data),
                                       .bytes = bytes,
                                       .kind = kind,
                                       .device = device});
  *out = data;
  return cudaSuccess;
}

cudaError_t MemoryMap::Free(MemoryKind kind, void* data) {
  const auto found = blocks_.find(Address(data));
  if (found == blocks_.end() || found->second.kind != kind) return cudaErrorInvalidValue;
  const Block& block = found->second;
  if (kind == MemoryKind::kDevice) used_[static_cast<std::size_t>(block.device)] -= block.bytes;
  blocks_.erase(found);
  return cudaSuccess;
}

MemoryKind MemoryMap::KindOf(const void* data) const {
  const Block* block = Find(data);
  return block == nullptr ? MemoryKind::kPageable : block->kind;
}

bool MemoryMap::Holds(const void* data, std::size_t bytes) const {
  const Block* block = Find(data);
  if (block == nullptr) return data != nullptr;
  const std::size_t offset = Address(data) - Address(block->data.get());
  return bytes <= block->bytes - offset;
}

std::size_t MemoryMap::free_bytes(int device) const {
  return capacity_ - used_[static_cast<std::size_t>(device)];
}

const MemoryMap::Block* MemoryMap::Find(const void* data) const {
  const auto after = blocks_.upper_bound(Address(data));
  if (after == blocks_.begin()) return nullptr;
  const auto& [address, block] = *std::prev(after);
  return Address(data) - address < block.bytes ? &block : nullptr;
}

}  // namespace codegen::simt
