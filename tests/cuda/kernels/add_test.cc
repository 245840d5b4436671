// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/add.cuh"

#include <vector>

#include "cuda/kernels/row_shapes.h"

namespace codegen::cuda {
namespace {

template <class X>
void ExpectAdds(const Shape& shape) {
  const std::vector<X> x = RandomValues<X>(shape.capacity(), 1);
  std::vector<float> before = RandomValues<float>(shape.capacity(), 2);
  for (std::size_t i = shape.used(); i < before.size(); ++i) before[i] = kUntouched;
  DeviceArray<X> device_x(x);
  DeviceArray<float> y(before);
  DeviceArray<std::int32_t> rows({shape.rows});

  ASSERT_EQ(Add(AddArgs<X>{.x = device_x.data(),
                           .y = y.data(),
                           .rows = rows.data(),
                           .row_capacity = kRowCapacity,
                           .columns = shape.columns},
                nullptr),
            cudaSuccess);

  ExpectValues(y.Host(), shape.used(), 1,
               [&](std::size_t i) { return double{before[i]} + double{Widened(x[i])}; });
}

TEST(Add, AddsF32) { ForShapes(ExpectAdds<float>); }
TEST(Add, AddsBf16) { ForShapes(ExpectAdds<__nv_bfloat16>); }

TEST(Add, LaunchesNothingForNoRows) {
  simt::Reset();

  EXPECT_EQ(Add(AddArgs<float>{.columns = 4}, nullptr), cudaSuccess);

  EXPECT_EQ(simt::Count().launches, 0);
}

}  // namespace
}  // namespace codegen::cuda
