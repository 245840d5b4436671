// SPDX-License-Identifier: Apache-2.0
//
// Shared memory, checks of addresses, and loads and stores that say something to the caches.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_MEMORY_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_MEMORY_H_

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "support/simt/diagnostics.h"

namespace codegen::simt {

void* DynamicSharedBytes();
void* StaticSharedBytes(const void* key, std::size_t bytes);

template <class T, std::size_t kCount>
auto StaticShared(const void* key) -> T (&)[kCount] {
  static_assert(std::is_trivially_destructible_v<T>);
  return *static_cast<T(*)[kCount]>(StaticSharedBytes(key, sizeof(T) * kCount));
}

// Each fails the kernel of the device function `function`, unless the address is a multiple of
// `bytes`; and unless `bytes` of shared memory lie there.
void CheckAligned(const void* data, std::size_t bytes, const char* function, Place place);
void CheckShared(const void* data, std::size_t bytes, const char* function, Place place);

// Kernels load uint4 from wherever 16 bytes lie, which plain C++ may not.
template <class T>
T LoadCopy(const T* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

}  // namespace codegen::simt

template <class T>
T __ldg(const T* data) {
  return codegen::simt::LoadCopy(data);
}

template <class T>
T __ldca(const T* data) {
  return codegen::simt::LoadCopy(data);
}

template <class T>
T __ldcg(const T* data) {
  return codegen::simt::LoadCopy(data);
}

template <class T>
T __ldcs(const T* data) {
  return codegen::simt::LoadCopy(data);
}

template <class T>
T __ldcv(const T* data) {
  return codegen::simt::LoadCopy(data);
}

template <class T>
void __stcg(T* data, std::type_identity_t<T> value) {
  *data = value;
}

template <class T>
void __stcs(T* data, std::type_identity_t<T> value) {
  *data = value;
}

template <class T>
void __stwt(T* data, std::type_identity_t<T> value) {
  *data = value;
}

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_MEMORY_H_
