// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/vector.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "simt/run.h"

namespace codegen::cuda {
namespace {

using simt::RunCorrect;
using simt::RunWrong;

template <class T, int kCount>
void ExpectLoadsAndStores() {
  alignas(16) T in[kCount];
  alignas(16) T out[kCount] = {};
  for (int i = 0; i < kCount; ++i) in[i] = FromFloat<T>(static_cast<float>(i * 3 - 7));

  RunCorrect(
      1,
      [&] {
        const Vector<T, kCount> vector = Load<kCount>(in);
        Store(out, FromFloat<T>(ToFloat(vector)));
        if constexpr (kCount == kWidest<T>) {
          for (int i = 0; i < kCount; ++i)
            EXPECT_EQ(ToFloat(LoadOnce(in)[i]), static_cast<float>(i * 3 - 7));
        }
      },
      [&] {
        for (int i = 0; i < kCount; ++i) {
          EXPECT_EQ(ToFloat(out[i]), static_cast<float>(i * 3 - 7));
          out[i] = T();
        }
      });
}

TEST(Vector, MovesUpTo16Bytes) {
  ExpectLoadsAndStores<float, 1>();
  ExpectLoadsAndStores<float, 2>();
  ExpectLoadsAndStores<float, 4>();
  ExpectLoadsAndStores<__nv_bfloat16, 1>();
  ExpectLoadsAndStores<__nv_bfloat16, 8>();
  ExpectLoadsAndStores<__half, 2>();
  ExpectLoadsAndStores<__half, 8>();
  ExpectLoadsAndStores<std::int8_t, 4>();
  ExpectLoadsAndStores<std::int8_t, 16>();
}

TEST(Vector, RefusesAddressesThatADeviceRefuses) {
  alignas(16) static __nv_bfloat16 values[32];

  RunWrong(1, "no multiple of 16", [] { Load<8>(values + 4); });
  RunWrong(1, "no multiple of 8", [] { Store(values + 2, Vector<__nv_bfloat16, 4>{}); });
  RunWrong(1, "no multiple of 16", [] { LoadOnce(values + 1); });
}

TEST(FromFloat, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(ToFloat(FromFloat<__nv_bfloat16>(1 + 1.0F / 256)), 1.0F);
  EXPECT_EQ(ToFloat(FromFloat<__nv_bfloat16>(1 + 3.0F / 256)), 1 + 4.0F / 256);
  EXPECT_EQ(ToFloat(FromFloat<__half>(1 + 1.0F / 2048)), 1.0F);
  EXPECT_EQ(FromFloat<std::int8_t>(2.5F), 2);
  EXPECT_EQ(FromFloat<std::int8_t>(-3.5F), -4);
}

// Pairs are rounded by another instruction than single numbers.
TEST(FromFloat, RoundsVectorsLikeNumbers) {
  Vector<float, 4> wide{{1 + 1.0F / 256, 1 + 3.0F / 256, -0.1F, 1e30F}};

  const auto brains = FromFloat<__nv_bfloat16>(wide);
  const auto halves = FromFloat<__half>(wide);

  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(ToFloat(brains[i]), ToFloat(FromFloat<__nv_bfloat16>(wide[i])));
    EXPECT_EQ(ToFloat(halves[i]), ToFloat(FromFloat<__half>(wide[i])));
  }
}

TEST(FromFloat, SaturatesSmallIntegers) {
  EXPECT_EQ(FromFloat<std::int8_t>(1000), 127);
  EXPECT_EQ(FromFloat<std::int8_t>(-1000), -128);
  EXPECT_EQ(FromFloat<std::int8_t>(NAN), 0);
}

}  // namespace
}  // namespace codegen::cuda
