// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/embed.cuh"

#include <vector>

#include "cuda/kernels/row_shapes.h"

namespace codegen::cuda {
namespace {

constexpr int kTableRows = 7;

template <class T>
void ExpectEmbeds(const Shape& shape) {
  const std::vector<T> elements = RandomValues<T>(kTableRows * shape.Columns(), 1);
  const std::vector<float> scales = RandomValues<float>(kTableRows, 2);
  const std::vector<std::int32_t> tokens = {6, 0, -1, kTableRows, 3};
  DeviceArray<T> table(elements);
  DeviceArray<float> table_scales(scales);
  DeviceArray<std::int32_t> device_tokens(tokens);
  DeviceArray<std::int32_t> rows({shape.rows});
  DeviceArray<float> y(Untouched<float>(shape.capacity()));
  EmbedArgs<T> args{.table = {},
                    .tokens = device_tokens.data(),
                    .y = y.data(),
                    .rows = rows.data(),
                    .row_capacity = kRowCapacity,
                    .table_rows = kTableRows,
                    .columns = shape.columns};
  args.table.elements = table.data();
  if constexpr (std::is_same_v<T, std::int8_t>) args.table.scales = table_scales.data();

  ASSERT_EQ(Embed(args, nullptr), cudaSuccess);

  ExpectValues(y.Host(), shape.used(), 0, [&](std::size_t i) -> double {
    const std::int32_t token = tokens[i / shape.Columns()];
    if (token < 0 || token >= kTableRows) return 0;
    const auto row = static_cast<std::size_t>(token);
    const float element = Widened(elements[row * shape.Columns() + i % shape.Columns()]);
    return std::is_same_v<T, std::int8_t> ? element * scales[row] : element;
  });
}

TEST(Embed, WidensRowsOfF32) { ForShapes(ExpectEmbeds<float>); }
TEST(Embed, WidensRowsOfBf16) { ForShapes(ExpectEmbeds<__nv_bfloat16>); }
TEST(Embed, WidensRowsOfF16) { ForShapes(ExpectEmbeds<__half>); }
TEST(Embed, ScalesRowsOfInt8) { ForShapes(ExpectEmbeds<std::int8_t>); }

TEST(Embed, LaunchesNothingForNoRows) {
  simt::Reset();

  EXPECT_EQ(Embed(EmbedArgs<float>{.columns = 4}, nullptr), cudaSuccess);

  EXPECT_EQ(simt::Count().launches, 0);
}

}  // namespace
}  // namespace codegen::cuda
