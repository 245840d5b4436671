// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "codegen/options.h"
#include "cpu/cpu_testing.h"
#include "support/reference_backend.h"

namespace codegen::cpu {
namespace {

using backend::Then;
using testing::ReferenceBackend;
using testing::ReferenceDevice;

struct Shape {
  std::int64_t rows;
  std::int64_t inputs;
  std::int64_t outputs;
};

// The three matrices of a product, and what y holds before.
struct Problem {
  Problem(const Shape& of, std::mt19937& random)
      : shape(of),
        x(RandomFloats(of.rows * of.inputs, random)),
        w(RandomFloats(of.outputs * of.inputs, random)),
        bias(RandomFloats(of.outputs, random)),
        y(RandomFloats(of.rows * of.outputs, random)) {}

  template <class Backend>
  std::vector<float> Compute(typename Backend::Device& device, Backend& backend,
                             WeightFormat format, Then then) const {
    auto weight = Take(device.MakeWeight(SourceOf(w, shape.inputs), bias, format));
    auto in = Upload(device, x, shape.inputs);
    auto out = Upload(device, y, shape.outputs);
    backend.Linear(in, weight, then, out);
    return Download(device, out);
  }

  // What the result is made of: sum |x w| + |bias| + |y| per element. A chain of n fused
  // multiply-adds is off by at most n 2^-24 of that; bias, gelu and the rounding of the reference
  // add a few.
  std::vector<float> Bounds(WeightFormat format) const {
    Problem magnitude = *this;
    for (std::vector<float>* values : {&magnitude.x, &magnitude.w, &magnitude.bias, &magnitude.y})
      for (float& value : *values) value = std::abs(value);
    ReferenceDevice device;
    ReferenceBackend backend;
    std::vector<float> bounds = magnitude.Compute(device, backend, format, Then::kAdd);
    for (float& bound : bounds) bound *= static_cast<float>(shape.inputs + 16) * 0x1p-24F;
    return bounds;
  }

  Shape shape;
  std::vector<float> x;
  std::vector<float> w;
  std::vector<float> bias;
  std::vector<float> y;
};

class LinearTest : public CpuTest {
 protected:
  void ExpectRight(const Shape& shape, WeightFormat format, Then then) {
    const Problem problem(shape, random_);
    ReferenceDevice device;
    ReferenceBackend backend;
    const std::vector<float> expected = problem.Compute(device, backend, format, then);
    const std::vector<float> actual = problem.Compute(cpu_.device, cpu_.backend, format, then);
    const std::vector<float> bounds = problem.Bounds(format);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], bounds[i])
          << "row " << i / static_cast<std::size_t>(shape.outputs) << " output "
          << i % static_cast<std::size_t>(shape.outputs) << " of " << shape.rows << " x "
          << shape.inputs << " -> " << shape.outputs << ", " << WeightFormatName(format)
          << ", then " << static_cast<int>(then);
    }
  }

  Cpu cpu_{2};
  std::mt19937 random_{20261122};
};

constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16};

TEST_P(LinearTest, MatchesReferenceOnAllSmallShapes) {
  for (const WeightFormat format : kFormats)
    for (std::int64_t rows = 1; rows <= 9; ++rows)
      for (std::int64_t inputs = 1; inputs <= 9; ++inputs)
        for (std::int64_t outputs = 1; outputs <= 9; ++outputs)
          ExpectRight({rows, inputs, outputs}, format, Then::kStore);
}

TEST_P(LinearTest, MatchesReferenceAroundTileEdges) {
  for (const WeightFormat format : kFormats) {
    for (std::int64_t rows = 1; rows <= 26; ++rows)
      for (const std::int64_t outputs : {15, 16, 17, 31, 33, 127, 128, 131, 257})
        ExpectRight({rows, 37, outputs}, format, Then::kStore);
    for (const std::int64_t inputs : {15, 16, 17, 31, 97, 128, 1021}) {
      ExpectRight({1, inputs, 47}, format, Then::kStore);
      ExpectRight({13, inputs, 47}, format, Then::kStore);
    }
  }
}

TEST_P(LinearTest, MatchesReferenceAcrossSlabsAndBlocksOfInputs) {
  for (const WeightFormat format : kFormats) {
    ExpectRight({kSlabRows + 1, 19, 35}, format, Then::kStore);
    ExpectRight({2 * kSlabRows + 7, 5, 18}, format, Then::kStore);
    ExpectRight({29, 2047, 33}, format, Then::kAdd);
    ExpectRight({29, 2049, 33}, format, Then::kGelu);
    ExpectRight({64, 4099, 33}, format, Then::kStore);
    ExpectRight({2, 4099, 33}, format, Then::kStore);
  }
}

TEST_P(LinearTest, AddsAndAppliesGelu) {
  for (const WeightFormat format : kFormats) {
    for (const std::int64_t rows : {1, 2, 3, 5, 7, 12, 13, 40}) {
      ExpectRight({rows, 24, 40}, format, Then::kAdd);
      ExpectRight({rows, 24, 40}, format, Then::kGelu);
    }
  }
}

TEST_P(LinearTest, AddsNothingWithoutBias) {
  const std::vector<float> w = {1, 2, 3, 4, 5, 6};
  const Weight weight = Take(cpu_.device.MakeWeight(SourceOf(w, 3), {}, WeightFormat::kF32));
  const Tensor x = Upload(cpu_.device, std::vector<float>{1, 1, 1}, 3);
  Tensor y = Upload(cpu_.device, std::vector<float>{7, 7}, 2);

  cpu_.backend.Linear(x, weight, Then::kStore, y);

  EXPECT_EQ(Download(cpu_.device, y), (std::vector<float>{6, 15}));
}

TEST_P(LinearTest, GeluHasTheLimitsOfItsFormula) {
  const std::vector<float> w = {1};
  const Weight weight = Take(cpu_.device.MakeWeight(SourceOf(w, 1), {}, WeightFormat::kF32));
  const std::vector<float> in = {-1e30F, -100, -10, -5, -1e-30F, 0, 1e-30F, 5, 10, 100, 1e30F};
  const Tensor x = Upload(cpu_.device, in, 1);
  Tensor y = Upload(cpu_.device, in, 1);

  cpu_.backend.Linear(x, weight, Then::kGelu, y);

  const std::vector<float> out = Download(cpu_.device, y);
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double expected = in[i] <= -1e10F ? 0 : ReferenceBackend::Gelu(in[i]);
    EXPECT_NEAR(out[i], expected, std::abs(in[i]) * 1e-6) << in[i];
  }
}

TEST_P(LinearTest, RowsDoNotSeeStaleMemoryBesideThem) {
  // Five inputs: one more than the bf16 pairs and eleven short of a line. Whatever lies in the
  // padding must not reach the product.
  const std::vector<float> w(5 * 3, 1.0F);
  Tensor x = Take(cpu_.device.MakeTensor(1, 5));
  x.SetRows(1);
  std::fill_n(x.row(0), x.stride(), std::numeric_limits<float>::quiet_NaN());
  std::fill_n(x.row(0), 5, 1.0F);
  for (const WeightFormat format : kFormats) {
    const Weight weight = Take(cpu_.device.MakeWeight(SourceOf(w, 5), {}, format));
    Tensor y = Take(cpu_.device.MakeTensor(1, 3));
    y.SetRows(1);

    cpu_.backend.Linear(x, weight, Then::kStore, y);

    EXPECT_EQ(Download(cpu_.device, y), (std::vector<float>{5, 5, 5}));
  }
}

TEST_P(LinearTest, KeepsStoredHalvesExact) {
  // All finite f16 values times one: nothing may be rounded.
  std::vector<float> w;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits)
    if ((bits & 0x7C00U) != 0x7C00U)
      w.push_back(tensor::FloatFromF16(static_cast<std::uint16_t>(bits)));
  const Weight weight = Take(cpu_.device.MakeWeight(SourceOf(w, 1), {}, WeightFormat::kF16));
  const Tensor x = Upload(cpu_.device, std::vector<float>{1}, 1);
  Tensor y = Take(cpu_.device.MakeTensor(1, static_cast<std::int64_t>(w.size())));
  y.SetRows(1);

  cpu_.backend.Linear(x, weight, Then::kStore, y);

  EXPECT_EQ(Download(cpu_.device, y), w);
}

CODEGEN_ON_EVERY_TARGET(LinearTest);

}  // namespace
}  // namespace codegen::cpu
