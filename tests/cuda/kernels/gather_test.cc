// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/gather.cuh"

#include <vector>

#include "cuda/kernels/row_shapes.h"

namespace codegen::cuda {
namespace {

template <class T>
void ExpectGathers(const Shape& shape) {
  const std::vector<T> x = RandomValues<T>(9 * shape.Columns(), 1);
  const std::vector<std::int32_t> indices = {8, 0, 3, 3, 7};
  DeviceArray<T> device_x(x);
  DeviceArray<std::int32_t> device_indices(indices);
  DeviceArray<std::int32_t> rows({shape.rows});
  DeviceArray<T> y(Untouched<T>(shape.capacity()));

  ASSERT_EQ(Gather(GatherArgs<T>{.x = device_x.data(),
                                 .indices = device_indices.data(),
                                 .y = y.data(),
                                 .rows = rows.data(),
                                 .row_capacity = kRowCapacity,
                                 .columns = shape.columns},
                   nullptr),
            cudaSuccess);

  std::vector<float> want;
  for (const std::int32_t index : indices)
    for (std::size_t c = 0; c < shape.Columns(); ++c)
      want.push_back(Widened(x[static_cast<std::size_t>(index) * shape.Columns() + c]));
  std::vector<float> got;
  for (const T value : y.Host()) got.push_back(Widened(value));
  ExpectValues(got, shape.used(), 0, [&](std::size_t i) { return double{want[i]}; });
}

TEST(Gather, CopiesRowsOfF32) { ForShapes(ExpectGathers<float>); }
TEST(Gather, CopiesRowsOfBf16) { ForShapes(ExpectGathers<__nv_bfloat16>); }

TEST(Gather, LaunchesNothingForNoRows) {
  simt::Reset();

  EXPECT_EQ(Gather(GatherArgs<float>{.columns = 4}, nullptr), cudaSuccess);

  EXPECT_EQ(simt::Count().launches, 0);
}

}  // namespace
}  // namespace codegen::cuda
