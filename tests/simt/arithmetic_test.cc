// SPDX-License-Identifier: Apache-2.0
#include "support/simt/arithmetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace codegen::simt {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Arithmetic, OffersTheFastFunctions) {
  for (const float x : {0.01F, 0.5F, 1.0F, 3.0F, 20.0F}) {
    EXPECT_FLOAT_EQ(__expf(x), std::exp(x));
    EXPECT_FLOAT_EQ(__logf(x), std::log(x));
    EXPECT_FLOAT_EQ(__log2f(x), std::log2(x));
    EXPECT_FLOAT_EQ(__log10f(x), std::log10(x));
    EXPECT_FLOAT_EQ(__exp10f(x), static_cast<float>(std::pow(10.0, x)));
    EXPECT_FLOAT_EQ(__powf(x, 1.5F), x * std::sqrt(x));
    EXPECT_FLOAT_EQ(__sinf(x), std::sin(x));
    EXPECT_FLOAT_EQ(__cosf(x), std::cos(x));
    EXPECT_FLOAT_EQ(rsqrtf(x), 1 / std::sqrt(x));
    EXPECT_FLOAT_EQ(__frsqrt_rn(x), 1 / std::sqrt(x));
    EXPECT_FLOAT_EQ(__fdividef(1, x), 1 / x);
    EXPECT_FLOAT_EQ(__frcp_rn(x), 1 / x);
    EXPECT_EQ(__fmul_rn(x, x), x * x);
  }
  EXPECT_EQ(__expf(-kInfinity), 0);
  EXPECT_EQ(__saturatef(-1), 0);
  EXPECT_EQ(__saturatef(0.25F), 0.25F);
  EXPECT_EQ(__saturatef(7), 1);
  EXPECT_EQ(__saturatef(NAN), 0);
}

// (1 + 2^-12)^2 - 1 has more bits than the product of floats keeps.
TEST(Arithmetic, RoundsAFusedProductOnce) {
  const float x = 1 + std::ldexp(1.0F, -12);

  EXPECT_EQ(__fmaf_rn(x, x, -1), std::ldexp(1.0F, -11) + std::ldexp(1.0F, -24));
}

TEST(Arithmetic, ConvertsToIntegersAsDevicesDo) {
  EXPECT_EQ(__float2int_rn(2.5F), 2);
  EXPECT_EQ(__float2int_rn(3.5F), 4);
  EXPECT_EQ(__float2int_rz(-2.9F), -2);
  EXPECT_EQ(__float2int_rd(-2.1F), -3);
  EXPECT_EQ(__float2int_ru(2.1F), 3);
  EXPECT_EQ(__float2int_rn(3e9F), std::numeric_limits<int>::max());
  EXPECT_EQ(__float2int_rn(-kInfinity), std::numeric_limits<int>::min());
  EXPECT_EQ(__float2int_rn(NAN), 0);
  EXPECT_EQ(__float2uint_rn(-5), 0U);
  EXPECT_EQ(__float2uint_rz(3e9F), 3'000'000'000U);
}

TEST(Arithmetic, PrefersNumbersToNan) {
  EXPECT_EQ(max(NAN, 1.0F), 1.0F);
  EXPECT_EQ(min(1.0F, NAN), 1.0F);
  EXPECT_EQ(max(-1.0, 2.0), 2.0);
}

// All of a few thousand triples against the same in double, rounded once.
TEST(Arithmetic, FusesProductsOf16BitFloats) {
  for (unsigned i = 0; i < 65536; i += 97) {
    const __nv_bfloat16 x = __ushort_as_bfloat16(static_cast<unsigned short>(i));
    const __half y = __ushort_as_half(static_cast<unsigned short>(i));
    if (std::isnan(__bfloat162float(x)) || std::isnan(__half2float(y))) continue;
    const double wide = __bfloat162float(x);
    const double half = __half2float(y);

    const __nv_bfloat16 fused = __hfma(x, __float2bfloat16(3), __float2bfloat16(0.1F));
    const __half fused_half = __hfma(y, __float2half(3), __float2half(0.1F));

    ASSERT_EQ(__bfloat162float(fused),
              __bfloat162float(
                  __double2bfloat16(wide * 3 + double{__bfloat162float(__float2bfloat16(0.1F))})));
    ASSERT_EQ(__half2float(fused_half),
              __half2float(__double2half(half * 3 + double{__half2float(__float2half(0.1F))})));
  }
}

TEST(Arithmetic, FusesPairs) {
  const __nv_bfloat162 pair = __hfma2(__floats2bfloat162_rn(1, 2), __floats2bfloat162_rn(3, 4),
                                      __floats2bfloat162_rn(5, 6));
  const __half2 half =
      __hfma2(__floats2half2_rn(1, 2), __floats2half2_rn(3, 4), __floats2half2_rn(5, 6));

  EXPECT_EQ(__low2float(pair), 8);
  EXPECT_EQ(__high2float(pair), 14);
  EXPECT_EQ(__low2float(half), 8);
  EXPECT_EQ(__high2float(half), 14);
}

}  // namespace
}  // namespace codegen::simt
