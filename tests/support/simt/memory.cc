// SPDX-License-Identifier: Apache-2.0
#include "support/simt/memory.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "support/simt/block.h"

namespace codegen::simt {

void* DynamicSharedBytes() {
  const Unobserved unobserved;
  return CurrentBlock().shared().dynamic();
}

void* StaticSharedBytes(const void* key, std::size_t bytes) {
  const Unobserved unobserved;
  SharedMemory& shared = CurrentBlock().shared();
  void* array = shared.Static(key, bytes);
  if (shared.static_bytes() > kMaxStaticShared)
    CurrentBlock().Fail("more than 48 KiB of static shared memory", {"CODEGEN_SHARED", {}});
  return array;
}

void CheckAligned(const void* data, std::size_t bytes, const char* function, Place place) {
  if (reinterpret_cast<std::uintptr_t>(data) % bytes == 0) return;
  CurrentBlock().Fail("the address is no multiple of " + std::to_string(bytes), {function, place});
}

void CheckShared(const void* data, std::size_t bytes, const char* function, Place place) {
  const Unobserved unobserved;
  CheckAligned(data, bytes, function, place);
  if (!CurrentBlock().shared().Contains(data, bytes))
    CurrentBlock().Fail("the address is not in shared memory", {function, place});
}

}  // namespace codegen::simt
