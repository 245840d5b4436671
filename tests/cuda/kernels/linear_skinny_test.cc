// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/linear_skinny.cuh"

#include <cstdint>
#include <vector>

#include "cuda/kernels/linear_cases.h"

namespace codegen::cuda {
namespace {

constexpr backend::Then kThens[] = {backend::Then::kStore, backend::Then::kAdd,
                                    backend::Then::kGelu};

template <class W, class Y>
void ExpectSkinny(const LinearShape& shape, backend::Then then) {
  SCOPED_TRACE(testing::Message() << shape.rows << " of " << shape.row_capacity << " rows, "
                                  << shape.inputs << " inputs, " << shape.outputs
                                  << " outputs, then " << static_cast<int>(then));
  simt::Reset();
  const LinearCase<W, __nv_bfloat16, Y> linear(shape, then);

  ASSERT_EQ(LinearSkinny(linear.args(), nullptr), cudaSuccess);

  linear.ExpectProduct();
  ASSERT_THAT(simt::TakeDiagnostics(), testing::IsEmpty());
}

template <class Types>
class LinearSkinnyFormat : public testing::Test {};

template <class WeightType, class YType>
struct SkinnyTypes {
  using W = WeightType;
  using Y = YType;
};

using SkinnyFormats =
    testing::Types<SkinnyTypes<__nv_bfloat16, float>, SkinnyTypes<std::int8_t, __nv_bfloat16>,
                   SkinnyTypes<std::int8_t, float>, SkinnyTypes<Int4Word, float>>;
TYPED_TEST_SUITE(LinearSkinnyFormat, SkinnyFormats);

TYPED_TEST(LinearSkinnyFormat, MultipliesShapesOfAllSizes) {
  for (const int inputs : {8, 64, 200, 1056})
    for (const int outputs : {1, 7, 64, 129})
      ExpectSkinny<typename TypeParam::W, typename TypeParam::Y>(
          {.rows = 11, .row_capacity = 11, .inputs = inputs, .outputs = outputs},
          kThens[(inputs / 8 + outputs) % 3]);
}

TYPED_TEST(LinearSkinnyFormat, TakesUpToSixtyFourRows) {
  for (const int rows : {1, 7, 8, 9, 16, 17, 31, 32, 33, 48, 63, 64})
    for (const backend::Then then : kThens)
      ExpectSkinny<typename TypeParam::W, typename TypeParam::Y>(
          {.rows = rows, .row_capacity = rows, .inputs = 200, .outputs = 40}, then);
}

// Tiles of x take turns in two places.
TYPED_TEST(LinearSkinnyFormat, ChangesTiles) {
  for (const int row_capacity : {8, 16, 32, 64})
    ExpectSkinny<typename TypeParam::W, typename TypeParam::Y>(
        {.rows = row_capacity, .row_capacity = row_capacity, .inputs = 3080, .outputs = 9},
        backend::Then::kStore);
}

TYPED_TEST(LinearSkinnyFormat, GivesARowTheSameBitsWhateverItsNeighbours) {
  using Y = typename TypeParam::Y;
  simt::Reset();
  static constexpr int kOutputs = 37;
  const auto run = [](int rows, int row_capacity) {
    const LinearCase<typename TypeParam::W, __nv_bfloat16, Y> linear(
        {.rows = rows, .row_capacity = row_capacity, .inputs = 1544, .outputs = kOutputs},
        backend::Then::kStore);
    EXPECT_EQ(LinearSkinny(linear.args(), nullptr), cudaSuccess);
    return linear.y();
  };

  const std::vector<Y> all = run(64, 64);

  for (const int row_capacity : {8, 13, 32, 64}) {
    for (const int rows : {1, row_capacity - 1}) {
      const std::vector<Y> some = run(rows, row_capacity);
      for (int row = 0; row < rows; ++row)
        ASSERT_EQ(RowBits(some, row, kOutputs), RowBits(all, row, kOutputs))
            << "row " << row << " of " << rows << ", capacity " << row_capacity;
    }
  }
}

TYPED_TEST(LinearSkinnyFormat, IsRightUnderEverySchedule) {
  for (const LinearShape& shape :
       {LinearShape{.rows = 3, .row_capacity = 8, .inputs = 1056, .outputs = 19},
        LinearShape{.rows = 33, .row_capacity = 40, .inputs = 1544, .outputs = 70}}) {
    UnderEverySchedule([&] {
      const LinearCase<typename TypeParam::W, __nv_bfloat16, typename TypeParam::Y> linear(
          shape, backend::Then::kAdd);
      ASSERT_EQ(LinearSkinny(linear.args(), nullptr), cudaSuccess);
      linear.ExpectProduct();
    });
  }
}

TEST(LinearSkinny, DoesNothingForNoRows) {
  ExpectSkinny<std::int8_t, float>({.rows = 0, .row_capacity = 9, .inputs = 64, .outputs = 7},
                                   backend::Then::kStore);
}

TEST(LinearSkinny, RefusesWhatItDoesNotMultiply) {
  simt::Reset();
  const LinearCase<__nv_bfloat16, __nv_bfloat16, float> linear({}, backend::Then::kStore);
  LinearArgs<__nv_bfloat16, __nv_bfloat16, float> args = linear.args();

  args.inputs = 12;
  EXPECT_EQ(LinearSkinny(args, nullptr), cudaErrorInvalidValue);
  args.inputs = 8;
  args.row_capacity = kSkinnyRows + 1;
  EXPECT_EQ(LinearSkinny(args, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace codegen::cuda
