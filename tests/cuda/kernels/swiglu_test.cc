// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/swiglu.cuh"

#include <cmath>
#include <vector>

#include "cuda/kernels/row_shapes.h"

namespace codegen::cuda {
namespace {

double Silu(double v) { return v / (1 + std::exp(-v)); }

// The argument of the exponential is exact; the exponential, the sum, the quotient and the product
// round, the first by up to 2 units on a device.
constexpr double kRoundings = 6;

template <class X, class Y>
void ExpectSwiGlus(const Shape& shape) {
  const std::vector<X> x = RandomValues<X>(2 * shape.capacity(), 1);
  DeviceArray<X> device_x(x);
  DeviceArray<Y> y(Untouched<Y>(shape.capacity()));
  DeviceArray<std::int32_t> rows({shape.rows});

  ASSERT_EQ(SwiGlu(SwiGluArgs<X, Y>{.x = device_x.data(),
                                    .y = y.data(),
                                    .rows = rows.data(),
                                    .row_capacity = kRowCapacity,
                                    .columns = shape.columns},
                   nullptr),
            cudaSuccess);

  ExpectValues(y.Host(), shape.used(), kRoundings, [&](std::size_t i) {
    const std::size_t gate = i / shape.Columns() * 2 * shape.Columns() + i % shape.Columns();
    return Silu(Widened(x[gate])) * double{Widened(x[gate + shape.Columns()])};
  });
}

TEST(SwiGlu, GatesF32) { ForShapes(ExpectSwiGlus<float, float>); }
TEST(SwiGlu, GatesF32ToBf16) { ForShapes(ExpectSwiGlus<float, __nv_bfloat16>); }
TEST(SwiGlu, GatesBf16ToF32) { ForShapes(ExpectSwiGlus<__nv_bfloat16, float>); }
TEST(SwiGlu, GatesBf16) { ForShapes(ExpectSwiGlus<__nv_bfloat16, __nv_bfloat16>); }

TEST(SwiGlu, IsRightFarFromZero) {
  simt::Reset();
  DeviceArray<float> x({-1000, -90, 90, 1000, 1, 1, 1, 1});
  DeviceArray<float> y(Untouched<float>(4));
  DeviceArray<std::int32_t> rows({1});

  ASSERT_EQ(
      SwiGlu(
          SwiGluArgs<float, float>{
              .x = x.data(), .y = y.data(), .rows = rows.data(), .row_capacity = 1, .columns = 4},
          nullptr),
      cudaSuccess);

  EXPECT_THAT(y.Host(), testing::ElementsAre(0, testing::FloatNear(0, 1e-30F), 90, 1000));
}

TEST(SwiGlu, LaunchesNothingForNoRows) {
  simt::Reset();

  EXPECT_EQ(SwiGlu(SwiGluArgs<float, float>{.columns = 4}, nullptr), cudaSuccess);

  EXPECT_EQ(simt::Count().launches, 0);
}

}  // namespace
}  // namespace codegen::cuda
