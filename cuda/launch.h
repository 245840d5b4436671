// SPDX-License-Identifier: Apache-2.0
//
// Launching a kernel: typed parameters, no <<<>>>, so that the same launcher compiles for a device
// and for the emulator of the tests.
//
//   return Launch(&ScaleKernel<float>,
//                 {.grid = dim3(blocks), .block = dim3(256), .name = "scale"}, stream, out, in, n);
#ifndef CODEGEN_CUDA_LAUNCH_H_
#define CODEGEN_CUDA_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#ifndef __CUDACC__
#include <support/simt/launch.h>
#endif

namespace codegen::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  // of dynamic shared memory; up to 227 KiB on Hopper
  const char* name = "kernel";   // for diagnostics
};

// What a kernel may take without asking: 48 KiB, of which static shared memory is a part; no kernel
// of ours that takes much of the one has more than 1 KiB of the other.
inline constexpr std::size_t kSharedBytesByDefault = 47 << 10;

// Puts kernel(arguments...) into `stream` and returns what the runtime says to that; what goes
// wrong while it runs comes later, from other calls.
template <class... P, class... A>
cudaError_t Launch(void (*kernel)(P...), const LaunchShape& shape, cudaStream_t stream,
                   A&&... arguments) {
  if (shape.shared_bytes > kSharedBytesByDefault) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shape.shared_bytes));
    if (error != cudaSuccess) return error;
  }
#ifdef __CUDACC__
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(arguments)...);
#else
  return simt::EnqueueKernel(
      kernel, {.grid = shape.grid, .block = shape.block, .shared_bytes = shape.shared_bytes},
      shape.name, stream, std::forward<A>(arguments)...);
#endif
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_LAUNCH_H_
