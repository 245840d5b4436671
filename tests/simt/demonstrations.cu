// SPDX-License-Identifier: Apache-2.0
//
// What the tests run on the CPU, compiled for devices (compile_for_devices.cmake), to show that it
// is one language.
#include "cuda/device/vector.cuh"
#include "cuda/launch.h"
#include "simt/product.cuh"
#include "simt/sum.cuh"

namespace codegen::cuda {

template <class T>
__global__ void ConvertKernel(T* out, const T* in) {
  const int i = Thread() * kWidest<T>;
  Store(out + i, FromFloat<T>(ToFloat(LoadOnce(in + i))));
  Store(out + i, Load<kWidest<T>>(in + i));
}

__global__ void ReduceKernel(float* out, const float* in) {
  CODEGEN_SHARED(int, words, 1);
  if (Thread() == 0) words[0] = 0;
  SyncNamedBarrier(1, Threads());
  atomicAdd(&words[0], __popc(__ballot_sync(kAllLanes, in[Thread()] > 0)));
  __syncthreads();
  const float sum = BlockSum(in[Thread()]) + BlockMax(in[Thread()]);
  out[Thread()] = WarpSum<8>(sum) + WarpMax<4>(sum) + static_cast<float>(words[0]);
}

// Every fragment that can be loaded.
__global__ void LoadKernel(std::uint32_t* out) {
  const __nv_bfloat16* row = DynamicShared<__nv_bfloat16>() + Lane() * 8;
  std::uint32_t one[1], two[2], four[4];
  float sum[4] = {};
  LoadMatrix1(one, row);
  LoadMatrix2(two, row);
  LoadMatrix4(four, row);
  MultiplyF16(sum, four, two);
  out[Thread()] = one[0];
  LoadMatrix1Transposed(one, row);
  LoadMatrix2Transposed(two, row);
  LoadMatrix4Transposed(four, row);
  MultiplyBf16(sum, four, two);
  out[Thread()] += one[0] + __float_as_uint(sum[0] + sum[1] + sum[2] + sum[3]);
}

cudaError_t LaunchAll(const ProductArgs& product, cudaStream_t stream) {
  const LaunchShape shape{.grid = dim3(1), .block = dim3(kProductThreads)};
  auto* bytes = reinterpret_cast<std::int8_t*>(product.c);
  auto* halves = reinterpret_cast<__half*>(product.c);
  auto* brains = reinterpret_cast<__nv_bfloat16*>(product.c);
  for (const cudaError_t error :
       {Launch(&SumKernel<Plant::kNothing>, shape, stream, product.c, product.c, product.k),
        Launch(&ProductKernel<Plant::kNothing>,
               {.grid = dim3(1), .block = dim3(kProductThreads), .shared_bytes = kProductShared},
               stream, product),
        Launch(&ConvertKernel<float>, shape, stream, product.c, product.c),
        Launch(&ConvertKernel<__nv_bfloat16>, shape, stream, brains, brains),
        Launch(&ConvertKernel<__half>, shape, stream, halves, halves),
        Launch(&ConvertKernel<std::int8_t>, shape, stream, bytes, bytes),
        Launch(&ReduceKernel, shape, stream, product.c, product.c),
        Launch(&LoadKernel, {.grid = dim3(1), .block = dim3(32), .shared_bytes = 64 << 10}, stream,
               reinterpret_cast<std::uint32_t*>(product.c))})
    if (error != cudaSuccess) return error;
  return cudaSuccess;
}

}  // namespace codegen::cuda
