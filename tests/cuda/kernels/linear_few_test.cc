// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/linear_few.cuh"

#include <cstdint>
#include <vector>

#include "cuda/kernels/linear_cases.h"

namespace codegen::cuda {
namespace {

constexpr backend::Then kEveryThen[] = {backend::Then::kStore, backend::Then::kAdd,
                                        backend::Then::kGelu};

template <class W, class X, class Y>
void ExpectFew(const LinearShape& shape, backend::Then then) {
  SCOPED_TRACE(testing::Message() << shape.rows << " of " << shape.row_capacity << " rows, "
                                  << shape.inputs << " inputs, " << shape.outputs
                                  << " outputs, then " << static_cast<int>(then));
  simt::Reset();
  const LinearCase<W, X, Y> linear(shape, then);

  ASSERT_EQ(LinearFew(linear.args(), nullptr), cudaSuccess);

  linear.ExpectProduct();
  ASSERT_THAT(simt::TakeDiagnostics(), testing::IsEmpty());
}

// Formats of weights, and a type of x and y each so that all pairs occur.
template <class Types>
class LinearFewFormat : public testing::Test {};

template <class WeightType, class XType, class YType>
struct LinearTypes {
  using W = WeightType;
  using X = XType;
  using Y = YType;
};

using FewFormats = testing::Types<
    LinearTypes<float, float, float>, LinearTypes<__nv_bfloat16, __nv_bfloat16, float>,
    LinearTypes<__nv_bfloat16, float, __nv_bfloat16>, LinearTypes<__half, __nv_bfloat16, float>,
    LinearTypes<std::int8_t, __nv_bfloat16, __nv_bfloat16>, LinearTypes<std::int8_t, float, float>,
    LinearTypes<Int4Word, __nv_bfloat16, float>, LinearTypes<Int4Word, float, __nv_bfloat16>>;
TYPED_TEST_SUITE(LinearFewFormat, FewFormats);

// One piece; a chunk of f32 that is not full; pieces and a chunk that are not full in any format;
// more than a chunk of every format.
TYPED_TEST(LinearFewFormat, MultipliesShapesOfAllSizes) {
  for (const int inputs : {8, 64, 200, 1056})
    for (const int outputs : {1, 7, 64, 129})
      ExpectFew<typename TypeParam::W, typename TypeParam::X, typename TypeParam::Y>(
          {.rows = 2, .row_capacity = 2, .inputs = inputs, .outputs = outputs},
          kEveryThen[(inputs / 8 + outputs) % 3]);
}

TYPED_TEST(LinearFewFormat, TakesOneToEightRows) {
  for (int rows = 1; rows <= kFewRows; ++rows)
    for (const backend::Then then : kEveryThen)
      ExpectFew<typename TypeParam::W, typename TypeParam::X, typename TypeParam::Y>(
          {.rows = rows, .row_capacity = rows, .inputs = 200, .outputs = 7}, then);
}

// x of one row has tiles of 8192 inputs, of 8 rows of 1024, which the shapes above hardly reach.
TYPED_TEST(LinearFewFormat, ChangesTiles) {
  ExpectFew<typename TypeParam::W, typename TypeParam::X, typename TypeParam::Y>(
      {.rows = 1, .row_capacity = 1, .inputs = 16392, .outputs = 3}, backend::Then::kStore);
  ExpectFew<typename TypeParam::W, typename TypeParam::X, typename TypeParam::Y>(
      {.rows = 8, .row_capacity = 8, .inputs = 4104, .outputs = 3}, backend::Then::kStore);
}

TYPED_TEST(LinearFewFormat, GivesARowTheSameBitsWhateverItsNeighbours) {
  using Y = typename TypeParam::Y;
  simt::Reset();
  static constexpr int kOutputs = 37;
  const auto run = [](int rows, int row_capacity) {
    const LinearCase<typename TypeParam::W, typename TypeParam::X, Y> linear(
        {.rows = rows, .row_capacity = row_capacity, .inputs = 4104, .outputs = kOutputs},
        backend::Then::kStore);
    EXPECT_EQ(LinearFew(linear.args(), nullptr), cudaSuccess);
    return linear.y();
  };

  const std::vector<Y> all = run(8, 8);

  for (const int row_capacity : {1, 2, 3, 4, 6, 8}) {
    for (int rows = 1; rows <= row_capacity; rows += 2) {
      const std::vector<Y> some = run(rows, row_capacity);
      for (int row = 0; row < rows; ++row)
        ASSERT_EQ(RowBits(some, row, kOutputs), RowBits(all, row, kOutputs))
            << "row " << row << " of " << rows << ", capacity " << row_capacity;
    }
  }
}

TYPED_TEST(LinearFewFormat, IsRightUnderEverySchedule) {
  for (const LinearShape& shape :
       {LinearShape{.rows = 3, .row_capacity = 7, .inputs = 1056, .outputs = 19},
        LinearShape{.rows = 1, .row_capacity = 1, .inputs = 200, .outputs = 19}}) {
    UnderEverySchedule([&] {
      const LinearCase<typename TypeParam::W, typename TypeParam::X, typename TypeParam::Y> linear(
          shape, backend::Then::kAdd);
      ASSERT_EQ(LinearFew(linear.args(), nullptr), cudaSuccess);
      linear.ExpectProduct();
    });
  }
}

TEST(LinearFew, DoesWithoutBias) {
  simt::Reset();
  const LinearCase<__nv_bfloat16, __nv_bfloat16, float> linear(
      {.rows = 1, .row_capacity = 1, .inputs = 64, .outputs = 7}, backend::Then::kStore);
  LinearArgs<__nv_bfloat16, __nv_bfloat16, float> args = linear.args();
  args.bias = nullptr;

  ASSERT_EQ(LinearFew(args, nullptr), cudaSuccess);

  linear.ExpectProduct(/*with_bias=*/false);
}

// So many outputs that blocks are wider.
TEST(LinearFew, TakesManyOutputs) {
  ExpectFew<Int4Word, __nv_bfloat16, float>(
      {.rows = 1, .row_capacity = 1, .inputs = 8, .outputs = 8461}, backend::Then::kStore);
  ExpectFew<__nv_bfloat16, __nv_bfloat16, float>(
      {.rows = 5, .row_capacity = 8, .inputs = 8, .outputs = 8461}, backend::Then::kStore);
}

TEST(LinearFew, DoesNothingForNoRows) {
  ExpectFew<std::int8_t, float, float>({.rows = 0, .row_capacity = 2, .inputs = 64, .outputs = 7},
                                       backend::Then::kStore);
}

TEST(LinearFew, RefusesWhatItDoesNotMultiply) {
  simt::Reset();
  const LinearCase<float, float, float> linear({}, backend::Then::kStore);
  LinearArgs<float, float, float> args = linear.args();

  args.inputs = 12;
  EXPECT_EQ(LinearFew(args, nullptr), cudaErrorInvalidValue);
  args.inputs = 8;
  args.row_capacity = kFewRows + 1;
  EXPECT_EQ(LinearFew(args, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace codegen::cuda
