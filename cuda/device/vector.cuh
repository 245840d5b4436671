// SPDX-License-Identifier: Apache-2.0
//
// Memory in pieces of up to 16 bytes, the widest access that a thread has, and numbers in and out
// of the types that weights and activations are stored in. Kernels compute in f32.
//
//   const Vector<float, 8> x = ToFloat(Load<8>(row + i));          // 8 bf16: one load of 16 bytes
//   Store(out + i, FromFloat<__nv_bfloat16>(x));
//
// T is float, __nv_bfloat16, __half or std::int8_t. Addresses are multiples of the size of the
// vector.
#ifndef CODEGEN_CUDA_DEVICE_VECTOR_CUH_
#define CODEGEN_CUDA_DEVICE_VECTOR_CUH_

#include <cstdint>
#include <type_traits>

#include "cuda/device/thread.cuh"

namespace codegen::cuda {

// kCount numbers side by side, in registers. sizeof(T) * kCount is a power of two; only vectors of
// up to 16 bytes can be loaded and stored.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount <= 16 ? sizeof(T) * kCount : 16) Vector {
  T values[kCount];

  __device__ T& operator[](int i) { return values[i]; }
  __device__ const T& operator[](int i) const { return values[i]; }
};

// How many T a 16-byte access moves.
template <class T>
inline constexpr int kWidest = 16 / static_cast<int>(sizeof(T));

template <int kCount, class T>
__device__ inline Vector<T, kCount> Load(const T* data) {
  static_assert(sizeof(T) * kCount <= 16);
  CheckAligned(data, sizeof(T) * kCount);
  return *reinterpret_cast<const Vector<T, kCount>*>(data);
}

template <class T, int kCount>
__device__ inline void Store(T* data, const Vector<T, kCount>& vector) {
  static_assert(sizeof(T) * kCount <= 16);
  CheckAligned(data, sizeof(T) * kCount);
  *reinterpret_cast<Vector<T, kCount>*>(data) = vector;
}

// For 16 bytes that nobody writes during the kernel and nobody reads again soon, such as weights:
// they leave the caches first.
template <class T>
__device__ inline Vector<T, kWidest<T>> LoadOnce(const T* data) {
  static_assert(std::is_trivially_copyable_v<T>);
  CheckAligned(data, 16);
  const uint4 bits = __ldcs(reinterpret_cast<const uint4*>(data));
  Vector<T, kWidest<T>> vector;
  memcpy(&vector, &bits, sizeof vector);
  return vector;
}

__device__ inline float ToFloat(float x) { return x; }
__device__ inline float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float ToFloat(__half x) { return __half2float(x); }
__device__ inline float ToFloat(std::int8_t x) { return static_cast<float>(x); }

// Rounds to nearest, ties to even; int8 saturates.
template <class T>
__device__ inline T FromFloat(float x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(x);
  } else if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<T, std::int8_t>) {
    return static_cast<std::int8_t>(min(max(__float2int_rn(x), -128), 127));
  } else {
    static_assert(std::is_same_v<T, float>);
    return x;
  }
}

template <class T, int kCount>
__device__ inline Vector<float, kCount> ToFloat(const Vector<T, kCount>& vector) {
  Vector<float, kCount> wide;
#pragma unroll
  for (int i = 0; i < kCount; ++i) wide[i] = ToFloat(vector[i]);
  return wide;
}

// Devices round two numbers into one register with one instruction.
__device__ inline __nv_bfloat162 RoundPair(__nv_bfloat16 /*type*/, float low, float high) {
  return __floats2bfloat162_rn(low, high);
}
__device__ inline __half2 RoundPair(__half /*type*/, float low, float high) {
  return __floats2half2_rn(low, high);
}

template <class T, int kCount>
__device__ inline Vector<T, kCount> FromFloat(const Vector<float, kCount>& wide) {
  Vector<T, kCount> vector;
  if constexpr (sizeof(T) == 2 && kCount % 2 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 2) {
      const auto pair = RoundPair(T(), wide[i], wide[i + 1]);
      vector[i] = pair.x;
      vector[i + 1] = pair.y;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) vector[i] = FromFloat<T>(wide[i]);
  }
  return vector;
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_DEVICE_VECTOR_CUH_
