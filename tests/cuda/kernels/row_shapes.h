// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the kernels share that go over rows: shapes, random values, comparisons.
#ifndef CODEGEN_TESTS_CUDA_KERNELS_ROW_SHAPES_H_
#define CODEGEN_TESTS_CUDA_KERNELS_ROW_SHAPES_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include "cuda/kernels/device_array.h"

namespace codegen::cuda {

// Rows that there are, of kRowCapacity that there can be, and columns: an odd one, a warp and one,
// pieces of 4 that fill blocks, and a prime that fills no row of blocks.
inline constexpr int kRowCapacity = 5;

struct Shape {
  int rows;
  int columns;

  std::size_t used() const { return static_cast<std::size_t>(rows) * Columns(); }
  std::size_t capacity() const { return kRowCapacity * Columns(); }
  std::size_t Columns() const { return static_cast<std::size_t>(columns); }
};

// Calls body(shape) for each of them, under every schedule.
template <class Body>
void ForShapes(const Body& body) {
  for (const int rows : {0, 1, kRowCapacity}) {
    for (const int columns : {1, 33, 1024, 4099}) {
      SCOPED_TRACE(testing::Message() << rows << " rows of " << columns);
      UnderEverySchedule([&] { body(Shape{rows, columns}); });
    }
  }
}

inline float Widened(float x) { return x; }
inline float Widened(std::int8_t x) { return static_cast<float>(x); }
inline float Widened(__nv_bfloat16 x) { return __bfloat162float(x); }
inline float Widened(__half x) { return __half2float(x); }

inline void Narrow(float x, float& y) { y = x; }
inline void Narrow(float x, std::int8_t& y) { y = static_cast<std::int8_t>(x * 40); }
inline void Narrow(float x, __nv_bfloat16& y) { y = __float2bfloat16(x); }
inline void Narrow(float x, __half& y) { y = __float2half(x); }

// Numbers around 0, mostly within 2.
template <class T>
std::vector<T> RandomValues(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<T> values(count);
  for (T& value : values) Narrow(std::min(std::max(normal(random), -3.0F), 3.0F), value);
  return values;
}

// What an output holds before a kernel writes it.
inline constexpr float kUntouched = 7;

template <class T>
std::vector<T> Untouched(std::size_t count) {
  T value;
  Narrow(kUntouched, value);
  return std::vector<T>(count, value);
}

// How far rounding to T takes a number of this size, beside `f32` roundings before it.
template <class T>
double RoundingOf(double value, double f32_roundings) {
  const double unit = std::is_same_v<T, __nv_bfloat16> ? 0x1p-8 : 0;
  return std::abs(value) * (unit + f32_roundings * 0x1p-24) + 1e-30;
}

// Fails unless y[i] is want(i) within RoundingOf for i < used, and kUntouched from there on.
template <class T, class Want>
void ExpectValues(const std::vector<T>& y, std::size_t used, double f32_roundings,
                  const Want& want) {
  int wrong = 0;
  for (std::size_t i = 0; i < y.size() && wrong < 5; ++i) {
    const double expected = i < used ? want(i) : double{kUntouched};
    const double slack = i < used ? RoundingOf<T>(expected, f32_roundings) : 0;
    const double error = std::abs(double{Widened(y[i])} - expected);
    if (error <= slack) continue;
    ++wrong;
    ADD_FAILURE() << "element " << i << ": " << Widened(y[i]) << ", expected " << expected;
  }
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_CUDA_KERNELS_ROW_SHAPES_H_
