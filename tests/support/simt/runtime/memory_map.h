// SPDX-License-Identifier: Apache-2.0
//
// The memory of the pretend device and the pinned memory of its host. Each allocation is one of its
// own from the host's allocator, so that the address sanitizer sees every byte beyond its end and
// every use after its death.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_MEMORY_MAP_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_MEMORY_MAP_H_

#include <driver_types.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "support/simt/runtime/control.h"

namespace codegen::simt {

enum class MemoryKind {
  kDevice,
  kPinned,
  kPageable,  // everything that this map does not know
};

class MemoryMap {
 public:
  explicit MemoryMap(const Settings& settings);

  // `device` is charged for device memory and ignored for pinned memory. New memory is poisoned.
  cudaError_t Allocate(MemoryKind kind, int device, std::size_t bytes, void** out);

  // cudaErrorInvalidValue unless `data` is the beginning of a living allocation of this kind.
  cudaError_t Free(MemoryKind kind, void* data);

  MemoryKind KindOf(const void* data) const;

  // Whether [data, data + bytes) does not leave the allocation that it begins in; pageable memory
  // is not checked.
  bool Holds(const void* data, std::size_t bytes) const;

  std::size_t free_bytes(int device) const;
  std::size_t allocations() const { return blocks_.size(); }

 private:
  struct Release {
    void operator()(void* data) const { std::free(data); }
  };
  struct Block {
    std::unique_ptr<void, Release> data;
    std::size_t bytes;
    MemoryKind kind;
    int device;
  };

  // The block that `data` points into; null if none.
  const Block* Find(const void* data) const;

  std::size_t capacity_;
  int poison_;
  std::vector<std::size_t> used_;           // by device
  std::map<std::uintptr_t, Block> blocks_;  // by address
};

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_MEMORY_MAP_H_
