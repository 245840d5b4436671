// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/norm.cuh"

#include <cmath>
#include <vector>

#include "cuda/kernels/row_shapes.h"

namespace codegen::cuda {
namespace {

constexpr float kEpsilon = 1e-5F;

enum class Kind { kLayer, kRms };

// One norm of random rows whose elements lie around `center`.
template <class Y>
struct Case {
  Case(const Shape& shape_, float center)
      : shape(shape_),
        x(RandomValues<float>(shape_.capacity(), 1)),
        gain(RandomValues<float>(shape_.Columns(), 2)),
        bias(RandomValues<float>(shape_.Columns(), 3)) {
    for (float& value : x) value += center;
  }

  std::vector<Y> Run(Kind kind) const {
    DeviceArray<float> device_x(x);
    DeviceArray<float> device_gain(gain);
    DeviceArray<float> device_bias(bias);
    DeviceArray<Y> y(Untouched<Y>(shape.capacity()));
    DeviceArray<std::int32_t> rows({shape.rows});
    const RmsNormArgs<Y> args{.x = device_x.data(),
                              .gain = device_gain.data(),
                              .y = y.data(),
                              .rows = rows.data(),
                              .row_capacity = kRowCapacity,
                              .columns = shape.columns,
                              .epsilon = kEpsilon};
    EXPECT_EQ(kind == Kind::kRms
                  ? RmsNorm(args, nullptr)
                  : LayerNorm(LayerNormArgs<Y>{.norm = args, .bias = device_bias.data()}, nullptr),
              cudaSuccess);
    return y.Host();
  }

  // mean of (x - center)^power over the row of element i.
  double Moment(std::size_t i, double center, int power) const {
    const std::size_t first = i / shape.Columns() * shape.Columns();
    double sum = 0;
    for (std::size_t c = 0; c < shape.Columns(); ++c)
      sum += std::pow(double{x[first + c]} - center, power);
    return sum / shape.columns;
  }

  Shape shape;
  std::vector<float> x, gain, bias;
};

// A thread adds up to 17 numbers and a tree over 8 levels follows: less than 30 roundings of the
// mean, as many of the variance, half of which remain in the root, and few beside. All of it is
// relative to the largest term, not to the result, in which they may cancel.
template <class Y>
void ExpectLayerNorm(const Case<Y>& test, double error_of_mean) {
  const std::vector<Y> y = test.Run(Kind::kLayer);
  const std::size_t columns = test.shape.Columns();
  double mean = 0, scale = 0;
  for (std::size_t i = 0; i < test.shape.used(); ++i) {
    if (i % columns == 0) {
      mean = test.Moment(i, 0, 1);
      scale = 1 / std::sqrt(test.Moment(i, mean, 2) + double{kEpsilon});
    }
    const double gain = scale * double{test.gain[i % columns]};
    const double bias = test.bias[i % columns];
    const double want = (double{test.x[i]} - mean) * gain + bias;
    const double slack = RoundingOf<Y>(want, 1) + std::abs(gain) * error_of_mean +
                         (std::abs(want - bias) + std::abs(bias)) * 60 * 0x1p-24;
    ASSERT_NEAR(Widened(y[i]), want, slack) << "element " << i;
  }
  for (std::size_t i = test.shape.used(); i < y.size(); ++i)
    ASSERT_EQ(Widened(y[i]), kUntouched) << "element " << i;
}

template <class Y>
void ExpectRmsNorm(const Case<Y>& test) {
  const std::size_t columns = test.shape.Columns();
  double scale = 0;
  ExpectValues(test.Run(Kind::kRms), test.shape.used(), 60, [&](std::size_t i) {
    if (i % columns == 0) scale = 1 / std::sqrt(test.Moment(i, 0, 2) + double{kEpsilon});
    return double{test.x[i]} * scale * double{test.gain[i % columns]};
  });
}

TEST(Norm, LayerNormIsItsFormula) {
  ForShapes([](const Shape& shape) { ExpectLayerNorm(Case<float>(shape, 0.5F), 30 * 0x1p-24); });
}

TEST(Norm, LayerNormRoundsToBf16) {
  ForShapes(
      [](const Shape& shape) { ExpectLayerNorm(Case<__nv_bfloat16>(shape, 0.5F), 30 * 0x1p-24); });
}

// x itself is known to 2^-14 there; E[x^2] - mean^2 would be off by 0.1 and more.
TEST(Norm, LayerNormSurvivesALargeMean) {
  UnderEverySchedule([] {
    ExpectLayerNorm(Case<float>({kRowCapacity, 1024}, 1000.0F), 1000 * 30 * 0x1p-24);
  });
}

TEST(Norm, RmsNormIsItsFormula) {
  ForShapes([](const Shape& shape) { ExpectRmsNorm(Case<float>(shape, 0.5F)); });
}

TEST(Norm, RmsNormRoundsToBf16) {
  ForShapes([](const Shape& shape) { ExpectRmsNorm(Case<__nv_bfloat16>(shape, 0.5F)); });
}

TEST(Norm, EpsilonKeepsRowsOfZerosFinite) {
  simt::Reset();
  Case<float> test({1, 64}, 0);
  for (float& value : test.x) value = 0;

  EXPECT_EQ(test.Run(Kind::kRms)[5], 0);
  EXPECT_EQ(test.Run(Kind::kLayer)[5], test.bias[5]);
}

TEST(Norm, ResultOfARowIsTheSameWhereverItLies) {
  simt::Reset();
  Case<__nv_bfloat16> test({kRowCapacity, 4099}, 0);
  std::copy_n(test.x.begin(), 4099, test.x.begin() + 3 * 4099);

  const std::vector<__nv_bfloat16> y = test.Run(Kind::kLayer);

  for (std::size_t i = 0; i < 4099; ++i) ASSERT_EQ(Widened(y[i]), Widened(y[3 * 4099 + i]));
}

TEST(Norm, TakesRowsOfMoreThan48KiB) {
  simt::Reset();
  const Case<float> test({1, 16384}, 0);

  ExpectRmsNorm(test);
}

TEST(Norm, RefusesRowsLargerThanSharedMemory) {
  simt::Reset();
  const RmsNormArgs<float> args{.row_capacity = 1, .columns = 1 << 16};

  EXPECT_NE(RmsNorm(args, nullptr), cudaSuccess);
  EXPECT_NE(LayerNorm(LayerNormArgs<float>{.norm = args}, nullptr), cudaSuccess);
}

TEST(Norm, LaunchesNothingForNoRows) {
  simt::Reset();

  EXPECT_EQ(RmsNorm(RmsNormArgs<float>{.columns = 4}, nullptr), cudaSuccess);
  EXPECT_EQ(LayerNorm(LayerNormArgs<float>{.norm = {.columns = 4}}, nullptr), cudaSuccess);

  EXPECT_EQ(simt::Count().launches, 0);
}

}  // namespace
}  // namespace codegen::cuda
