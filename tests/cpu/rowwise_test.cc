// SPDX-License-Identifier: Apache-2.0
//
// The operations that treat each row on its own, against the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "backend/backend.h"
#include "codegen/options.h"
#include "cpu/cpu_testing.h"
#include "cpu/pack.h"
#include "quant/format.h"
#include "support/reference_backend.h"
#include "tensor/half.h"

namespace codegen::cpu {
namespace {

using testing::ReferenceBackend;
using testing::ReferenceDevice;

constexpr std::int64_t kWidths[] = {1,  2,  3,  4,  5,   6,   7,   8,   9,    11,  13, 15,
                                    16, 17, 19, 23, 31,  32,  33,  47,  48,   49,  63, 64,
                                    65, 80, 96, 97, 127, 128, 129, 257, 1021, 1024};

class RowwiseTest : public CpuTest {
 protected:
  // Runs `operation` on both backends over random x and y and compares within
  // `tolerance` x (1 + |expected|).
  template <class Operation>
  void ExpectSame(std::int64_t rows, std::int64_t x_columns, std::int64_t y_columns,
                  double tolerance, const Operation& operation) {
    const std::vector<float> x = RandomFloats(rows * x_columns, random_);
    const std::vector<float> y = RandomFloats(rows * y_columns, random_);
    auto expected = Upload(reference_device_, y, y_columns);
    auto actual = Upload(cpu_.device, y, y_columns);

    operation(reference_device_, reference_, Upload(reference_device_, x, x_columns), expected);
    operation(cpu_.device, cpu_.backend, Upload(cpu_.device, x, x_columns), actual);

    const std::vector<float> right = Download(reference_device_, expected);
    const std::vector<float> ours = Download(cpu_.device, actual);
    for (std::size_t i = 0; i < right.size(); ++i)
      ASSERT_NEAR(ours[i], right[i], tolerance * (1 + std::abs(right[i])))
          << "element " << i << " of " << rows << " x " << y_columns;
  }

  Cpu cpu_{2, {.level = GetParam()}};
  ReferenceDevice reference_device_;
  ReferenceBackend reference_;
  std::mt19937 random_{20261122};
};

// A statistic over n values in 32 chains and a tree is a sum of at most n / 32 + 6 additions deep;
// a dozen roundings more scale the elements, and values are below 5.
double NormTolerance(std::int64_t columns) {
  return (static_cast<double>(columns) / 32 + 18) * 5 * 0x1p-24;
}

TEST_P(RowwiseTest, LayerNormMatchesReference) {
  for (const std::int64_t width : kWidths) {
    if (width == 1) continue;  // the variance is zero: 1 / sqrt(epsilon) magnifies any rounding
    const std::vector<float> gain = RandomFloats(width, random_);
    const std::vector<float> bias = RandomFloats(width, random_);
    for (const std::int64_t rows : {1, 3, 20})
      ExpectSame(rows, width, width, 20 * NormTolerance(width),
                 [&](auto& device, auto& backend, const auto& x, auto& y) {
                   backend.LayerNorm(x, Take(device.MakeNorm(gain, bias, 1e-2F)), y);
                 });
  }
}

TEST_P(RowwiseTest, RmsNormMatchesReference) {
  for (const std::int64_t width : kWidths) {
    const std::vector<float> gain = RandomFloats(width, random_);
    for (const std::int64_t rows : {1, 3, 20})
      ExpectSame(rows, width, width, NormTolerance(width),
                 [&](auto& device, auto& backend, const auto& x, auto& y) {
                   backend.RmsNorm(x, Take(device.MakeNorm(gain, {}, 1e-6F)), y);
                 });
  }
}

TEST_P(RowwiseTest, LayerNormCancelsNothingUnderALargeMean) {
  std::vector<float> x(1000);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 4096 + (i % 2 == 0 ? 1.0F : -1.0F);
  const std::vector<float> gain(1000, 1.0F);
  const std::vector<float> bias(1000, 0.0F);
  Tensor y = Take(cpu_.device.MakeTensor(1, 1000));
  y.SetRows(1);

  cpu_.backend.LayerNorm(Upload(cpu_.device, x, 1000), Take(cpu_.device.MakeNorm(gain, bias, 0.0F)),
                         y);

  const std::vector<float> out = Download(cpu_.device, y);
  for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], x[i] - 4096, 1e-5);
}

TEST_P(RowwiseTest, NormsIgnoreWhatLiesBesideARow) {
  // One column short of a line: NaN in the padding must not reach the statistics.
  const std::vector<float> gain(15, 1.0F);
  const std::vector<float> bias(15, 0.0F);
  Tensor x = Take(cpu_.device.MakeTensor(1, 15));
  x.SetRows(1);
  std::fill_n(x.row(0), x.stride(), std::numeric_limits<float>::quiet_NaN());
  for (int i = 0; i < 15; ++i) x.row(0)[i] = static_cast<float>(i);
  Tensor y = Take(cpu_.device.MakeTensor(1, 15));
  y.SetRows(1);
  const Norm norm = Take(cpu_.device.MakeNorm(gain, bias, 1e-5F));

  cpu_.backend.LayerNorm(x, norm, y);
  for (const float value : Download(cpu_.device, y)) EXPECT_TRUE(std::isfinite(value));

  cpu_.backend.RmsNorm(x, norm, y);
  for (const float value : Download(cpu_.device, y)) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(RowwiseTest, SwiGluMatchesReference) {
  for (const std::int64_t width : kWidths)
    for (const std::int64_t rows : {1, 2, 20})
      ExpectSame(rows, 2 * width, width, 8 * 0x1p-24,
                 [](auto&, auto& backend, const auto& x, auto& y) { backend.SwiGlu(x, y); });
}

TEST_P(RowwiseTest, SwiGluHasTheLimitsOfItsFormula) {
  const std::vector<float> gates = {-1e30F, -200, -88, -20, -1e-30F, 0, 1e-30F, 20, 88, 200, 1e30F};
  for (const float gate : gates) {
    Tensor y = Take(cpu_.device.MakeTensor(1, 1));
    y.SetRows(1);

    cpu_.backend.SwiGlu(Upload(cpu_.device, std::vector<float>{gate, 1.0F}, 2), y);

    // Below -88 the formula gives less than 1e-36; |gate| times the smallest exponential remains.
    const double expected = gate < -1e10F ? 0 : ReferenceBackend::Silu(gate);
    EXPECT_NEAR(Download(cpu_.device, y)[0], expected, std::abs(gate) * 1e-6) << gate;
  }
}

TEST_P(RowwiseTest, AddMatchesReference) {
  for (const std::int64_t width : kWidths)
    for (const std::int64_t rows : {1, 2, 20})
      ExpectSame(rows, width, width, 0x1p-24,
                 [](auto&, auto& backend, const auto& x, auto& y) { backend.Add(x, y); });
}

TEST_P(RowwiseTest, GatherCopiesRows) {
  const std::vector<std::int32_t> rows = {0, 3, 4, 9};
  for (const std::int64_t width : {1, 7, 16, 33}) {
    const std::vector<float> x = RandomFloats(10 * width, random_);
    Tensor y = Take(cpu_.device.MakeTensor(10, width));
    y.SetRows(4);

    cpu_.backend.Gather(Upload(cpu_.device, x, width), rows, y);

    const std::vector<float> out = Download(cpu_.device, y);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t row = i / static_cast<std::size_t>(width);
      const std::size_t column = i % static_cast<std::size_t>(width);
      EXPECT_EQ(out[i], x[static_cast<std::size_t>(rows[row] * width) + column]);
    }
  }
}

TEST_P(RowwiseTest, EmbedReadsRowsAsTheyAreStored) {
  const std::vector<TokenId> tokens = {5, 0, 5, 6, 1};
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16,
                                    WeightFormat::kInt8, WeightFormat::kInt4}) {
    for (const std::int64_t width : kWidths) {
      const std::vector<float> e = RandomFloats(7 * width, random_);
      Tensor y = Take(cpu_.device.MakeTensor(5, width));
      y.SetRows(5);

      cpu_.backend.Embed(tokens, Take(cpu_.device.MakeEmbedding(SourceOf(e, width), format)), y);

      const std::vector<float> out = Download(cpu_.device, y);
      for (std::size_t t = 0; t < tokens.size(); ++t) {
        const auto columns = static_cast<std::size_t>(width);
        std::vector<float> stored(e.begin() + tokens[t] * width,
                                  e.begin() + (tokens[t] + 1) * width);
        quant::RoundTo(EmbeddingFormat(format), stored);
        ASSERT_TRUE(std::ranges::equal(stored, std::span(out).subspan(t * columns, columns)))
            << WeightFormatName(format) << ", row " << t;
      }
    }
  }
}

TEST_P(RowwiseTest, SampleDrawsEachRow) {
  Tensor logits = Upload(cpu_.device, std::vector<float>{0, 3, 1, 9, 2, 1, 0, 0, 5}, 3);
  const std::vector<backend::Sampling> greedy(3, {.vocabulary = 3});
  std::vector<backend::SampledToken> tokens(3);

  cpu_.backend.Sample(logits, greedy, tokens);

  EXPECT_EQ(tokens[0].id, 1);
  EXPECT_EQ(tokens[1].id, 0);
  EXPECT_EQ(tokens[2].id, 2);
}

CODEGEN_ON_EVERY_LEVEL(RowwiseTest);

}  // namespace
}  // namespace codegen::cpu
