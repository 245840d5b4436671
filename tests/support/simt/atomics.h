// SPDX-License-Identifier: Apache-2.0
//
// Atomic functions. They order nothing but themselves, as on a device: publishing what was written
// before needs __threadfence. Each lets another thread run, so that spinning on one ends.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_ATOMICS_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_ATOMICS_H_

#include <type_traits>

namespace codegen::simt {

void AfterAtomic();

// Replaces *address by update(*address), and returns what was there.
template <class T, class Update>
T Atomically(T* address, Update update) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  T before;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  T after = update(before);
  while (!__atomic_compare_exchange(address, &before, &after, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED))
    after = update(before);
  AfterAtomic();
  return before;
}

}  // namespace codegen::simt

// T: int, unsigned, unsigned long long, float or double.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T old) { return static_cast<T>(old + value); });
}

template <class T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T old) { return static_cast<T>(old - value); });
}

template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T) { return value; });
}

template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T old) { return value < old ? value : old; });
}

template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T old) { return old < value ? value : old; });
}

template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T old) { return old & value; });
}

template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T old) { return old | value; });
}

template <class T>
T atomicXor(T* address, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T old) { return old ^ value; });
}

template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return codegen::simt::Atomically(address, [&](T old) { return old == expected ? value : old; });
}

// Counts up to `last`, then begins anew at 0.
inline unsigned atomicInc(unsigned* address, unsigned last) {
  return codegen::simt::Atomically(address,
                                   [&](unsigned old) { return old >= last ? 0 : old + 1; });
}

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_ATOMICS_H_
