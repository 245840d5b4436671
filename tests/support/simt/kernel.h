// SPDX-License-Identifier: Apache-2.0
//
// What a kernel may use of the platform, for a host compiler: the emulated half of
// cuda/device/thread.cuh, which kernels include.
//
// The CUDA headers give a host compiler the types and most conversions of bf16, f16 and f8; what
// they leave to nvcc is declared here under the same names.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_KERNEL_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_KERNEL_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cstddef>

#include "support/simt/arithmetic.h"
#include "support/simt/atomics.h"
#include "support/simt/barriers.h"
#include "support/simt/bits.h"
#include "support/simt/memory.h"
#include "support/simt/thread_index.h"
#include "support/simt/warp.h"

// A local variable that only looks shared would be worse than an error.
#undef __shared__
#define __launch_bounds__(...)

// An array of shared memory, uninitialised: of each block one, however often it is declared.
#define CODEGEN_SHARED(T, name, count)  \
  static constexpr char name##_key = 0; \
  T(&name)[count] = ::codegen::simt::StaticShared<T, count>(&name##_key)

namespace codegen::cuda {

// The dynamic shared memory of the launch, aligned to 128 bytes, uninitialised.
template <class T>
T* DynamicShared() {
  return static_cast<T*>(simt::DynamicSharedBytes());
}

// Barrier `id` (1 to 15) of `threads` threads, whole warps, wherever they call from.
inline void SyncNamedBarrier(int id, int threads, simt::Place place = simt::Place::Here()) {
  simt::SyncNamedBarrier(id, threads, place);
}

// A device faults on an address that is no multiple of the size of the access.
inline void CheckAligned(const void* data, std::size_t bytes,
                         simt::Place place = simt::Place::Here()) {
  simt::CheckAligned(data, bytes, "vector access", place);
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_KERNEL_H_
