// SPDX-License-Identifier: Apache-2.0
//
// What a kernel may use of the platform. First include of every kernel.
//
// Kernel sources are compiled twice: by nvcc for devices, and by a host compiler against the
// emulator of the tests (tests/support/simt/grid.h), which runs them on the CPU under sanitizers.
// Therefore kernels take from CUDA the built-in variables and functions (threadIdx, __syncthreads,
// __shfl_xor_sync, atomicAdd, ...), and everything that has no spelling as a function from here and
// the other headers of this folder: no __shared__, no <<<>>>, no inline PTX anywhere else.
//
//   CODEGEN_SHARED(float, partial, 32);   // static shared memory: float partial[32]
//   float* tile = DynamicShared<float>(); // what LaunchShape::shared_bytes gave
//
// Blocks are one-dimensional and whole warps in all our kernels; Lane() and Warp() count on it.
#ifndef CODEGEN_CUDA_DEVICE_THREAD_CUH_
#define CODEGEN_CUDA_DEVICE_THREAD_CUH_

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cstddef>

// An array of shared memory, uninitialised: of each block one, however often it is declared.
#define CODEGEN_SHARED(T, name, count) __shared__ __align__(16) T name[count]

namespace codegen::cuda {

// The dynamic shared memory of the launch, aligned to 128 bytes, uninitialised.
template <class T>
__device__ T* DynamicShared() {
  extern __shared__ __align__(128) unsigned char codegen_dynamic_shared[];
  return reinterpret_cast<T*>(codegen_dynamic_shared);
}

// Barrier `id` (1 to 15) of `threads` threads, whole warps, wherever they call from.
__device__ inline void SyncNamedBarrier(int id, int threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// The device itself faults on an address that is no multiple of the size of the access.
__device__ inline void CheckAligned(const void* /*data*/, std::size_t /*bytes*/) {}

}  // namespace codegen::cuda

#else
#include <support/simt/kernel.h>
#endif

namespace codegen::cuda {

inline constexpr int kWarpLanes = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFF;

__device__ inline int Thread() { return static_cast<int>(threadIdx.x); }
__device__ inline int Threads() { return static_cast<int>(blockDim.x); }
__device__ inline int Lane() { return Thread() % kWarpLanes; }
__device__ inline int Warp() { return Thread() / kWarpLanes; }
__device__ inline int Warps() { return Threads() / kWarpLanes; }

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_DEVICE_THREAD_CUH_
