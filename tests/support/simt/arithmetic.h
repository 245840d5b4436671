// SPDX-License-Identifier: Apache-2.0
//
// Floating-point functions that the CUDA headers leave to nvcc. The fast ones are exact here, where
// a device may be off by a few units in the last place: tests of kernels compare with tolerance.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_ARITHMETIC_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_ARITHMETIC_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <limits>

// The C library declares functions of these names for itself and does not offer them.
#define __expf(x) std::exp(static_cast<float>(x))
#define __exp10f(x) ::exp10f(x)
#define __logf(x) std::log(static_cast<float>(x))
#define __log2f(x) std::log2(static_cast<float>(x))
#define __log10f(x) std::log10(static_cast<float>(x))
#define __powf(x, y) std::pow(static_cast<float>(x), static_cast<float>(y))
#define __sinf(x) std::sin(static_cast<float>(x))
#define __cosf(x) std::cos(static_cast<float>(x))
#define __sincosf(x, sine, cosine) ::sincosf(x, sine, cosine)

inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float fdividef(float x, float y) { return x / y; }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return std::fmin(std::fmax(x, 0.0F), 1.0F); }

// Rounded once to nearest, and not contracted into other operations.
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0F / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / std::sqrt(double{x})); }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }

namespace codegen::simt {

// As a device converts: beyond the integers to their ends, NaN to 0.
template <class Int>
Int SaturatingConvert(float x) {
  if (std::isnan(x)) return 0;
  const auto clamped = std::clamp(double{x}, static_cast<double>(std::numeric_limits<Int>::min()),
                                  static_cast<double>(std::numeric_limits<Int>::max()));
  return static_cast<Int>(clamped);
}

}  // namespace codegen::simt

inline int __float2int_rn(float x) {
  return codegen::simt::SaturatingConvert<int>(std::nearbyint(x));
}
inline int __float2int_rz(float x) { return codegen::simt::SaturatingConvert<int>(x); }
inline int __float2int_rd(float x) { return codegen::simt::SaturatingConvert<int>(std::floor(x)); }
inline int __float2int_ru(float x) { return codegen::simt::SaturatingConvert<int>(std::ceil(x)); }
inline unsigned __float2uint_rn(float x) {
  return codegen::simt::SaturatingConvert<unsigned>(std::nearbyint(x));
}
inline unsigned __float2uint_rz(float x) { return codegen::simt::SaturatingConvert<unsigned>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

// The product is exact in double and the sum rounded there, so the second rounding is the only one
// but for sums that lie within 2^-53 of a tie.
inline __nv_bfloat16 __hfma(__nv_bfloat16 x, __nv_bfloat16 y, __nv_bfloat16 z) {
  return __double2bfloat16(std::fma(double{__bfloat162float(x)}, double{__bfloat162float(y)},
                                    double{__bfloat162float(z)}));
}
inline __half __hfma(__half x, __half y, __half z) {
  return __double2half(
      std::fma(double{__half2float(x)}, double{__half2float(y)}, double{__half2float(z)}));
}
inline __nv_bfloat162 __hfma2(__nv_bfloat162 x, __nv_bfloat162 y, __nv_bfloat162 z) {
  return {__hfma(x.x, y.x, z.x), __hfma(x.y, y.y, z.y)};
}
inline __half2 __hfma2(__half2 x, __half2 y, __half2 z) {
  return {__hfma(x.x, y.x, z.x), __hfma(x.y, y.y, z.y)};
}

inline float min(float x, float y) { return std::fmin(x, y); }
inline float max(float x, float y) { return std::fmax(x, y); }
inline double min(double x, double y) { return std::fmin(x, y); }
inline double max(double x, double y) { return std::fmax(x, y); }

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_ARITHMETIC_H_
