// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "codegen/options.h"
#include "cpu/cpu_testing.h"
#include "quant/format.h"
#include "support/reference_backend.h"
#include "tensor/half.h"

namespace codegen::cpu {
namespace {

using backend::Then;
using testing::ReferenceBackend;
using testing::ReferenceDevice;

// How a matrix is held and multiplied.
struct How {
  WeightFormat format;
  ComputePrecision precision = ComputePrecision::kExact;
};

std::string NameOf(const How& how) {
  return std::string(WeightFormatName(how.format)) + ", " + ComputePrecisionName(how.precision);
}

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

  // The same with activations as the kernel rounds them.
  Problem WithActivationsOf(const LinearKernel& kernel) const {
    Problem rounded = *this;
    if (kernel.activations == Activations::kF32) return rounded;
    const auto format =
        kernel.activations == Activations::kInt8 ? WeightFormat::kInt8 : WeightFormat::kBf16;
    const auto inputs = static_cast<std::size_t>(shape.inputs);
    for (std::size_t row = 0; row < x.size(); row += inputs)
      quant::RoundTo(format, std::span(rounded.x).subspan(row, inputs));
    return rounded;
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
  void ExpectRight(const Shape& shape, const How& how, Then then) {
    Cpu& cpu = how.precision == ComputePrecision::kExact ? cpu_ : fast_;
    const Problem problem(shape, random_);
    ReferenceDevice device;
    ReferenceBackend backend;
    const Problem rounded = problem.WithActivationsOf(cpu.device.KernelFor(how.format));
    const std::vector<float> expected = rounded.Compute(device, backend, how.format, then);
    const std::vector<float> actual = problem.Compute(cpu.device, cpu.backend, how.format, then);
    const std::vector<float> bounds = problem.Bounds(how.format);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], bounds[i])
          << "row " << i / static_cast<std::size_t>(shape.outputs) << " output "
          << i % static_cast<std::size_t>(shape.outputs) << " of " << shape.rows << " x "
          << shape.inputs << " -> " << shape.outputs << ", " << NameOf(how) << ", then "
          << static_cast<int>(then);
    }
  }

  Cpu cpu_{2, {.level = GetParam()}};
  Cpu fast_{2, {.level = GetParam(), .precision = ComputePrecision::kFast}};
  std::mt19937 random_{20261122};
};

constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16,
                                     WeightFormat::kInt8, WeightFormat::kInt4};

constexpr How kAllHows[] = {{WeightFormat::kF32},
                            {WeightFormat::kBf16},
                            {WeightFormat::kF16},
                            {WeightFormat::kInt8},
                            {WeightFormat::kInt4},
                            {WeightFormat::kBf16, ComputePrecision::kFast},
                            {WeightFormat::kInt8, ComputePrecision::kFast},
                            {WeightFormat::kInt4, ComputePrecision::kFast}};

TEST_P(LinearTest, MatchesReferenceOnAllSmallShapes) {
  for (const How& how : kAllHows)
    for (std::int64_t rows = 1; rows <= 9; ++rows)
      for (std::int64_t inputs = 1; inputs <= 9; ++inputs)
        for (std::int64_t outputs = 1; outputs <= 9; ++outputs)
          ExpectRight({rows, inputs, outputs}, how, Then::kStore);
}

TEST_P(LinearTest, MatchesReferenceAroundTileEdges) {
  for (const How& how : kAllHows) {
    for (std::int64_t rows = 1; rows <= 26; ++rows)
      for (const std::int64_t outputs : {15, 16, 17, 31, 33, 127, 128, 131, 257})
        ExpectRight({rows, 37, outputs}, how, Then::kStore);
    for (const std::int64_t inputs : {15, 16, 17, 31, 97, 128, 1021}) {
      ExpectRight({1, inputs, 47}, how, Then::kStore);
      ExpectRight({13, inputs, 47}, how, Then::kStore);
    }
  }
}

TEST_P(LinearTest, MatchesReferenceAcrossSlabsAndBlocksOfInputs) {
  for (const How& how : kAllHows) {
    ExpectRight({kSlabRows + 1, 19, 35}, how, Then::kStore);
    ExpectRight({2 * kSlabRows + 7, 5, 18}, how, Then::kStore);
    ExpectRight({29, 1025, 33}, how, Then::kStore);
    ExpectRight({29, 2047, 33}, how, Then::kAdd);
    ExpectRight({29, 2049, 33}, how, Then::kGelu);
    ExpectRight({64, 4099, 33}, how, Then::kStore);
    ExpectRight({2, 4099, 33}, how, Then::kStore);
  }
}

TEST_P(LinearTest, AddsAndAppliesGelu) {
  for (const How& how : kAllHows) {
    for (const std::int64_t rows : {1, 2, 3, 5, 7, 12, 13, 40}) {
      ExpectRight({rows, 24, 40}, how, Then::kAdd);
      ExpectRight({rows, 24, 40}, how, Then::kGelu);
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
    for (Cpu* cpu : {&cpu_, &fast_}) {
      const Weight weight = Take(cpu->device.MakeWeight(SourceOf(w, 5), {}, format));
      Tensor y = Take(cpu->device.MakeTensor(1, 3));
      y.SetRows(1);

      cpu->backend.Linear(x, weight, Then::kStore, y);

      EXPECT_EQ(Download(cpu->device, y), (std::vector<float>{5, 5, 5}));
    }
  }
}

// Integers are exact: whatever a level multiplies with, the bits are those of the portable one.
TEST_P(LinearTest, QuantisedWeightsGiveTheSameBitsOnEveryLevel) {
  Cpu portable(1, {.level = CpuFeatures::kPortable, .precision = ComputePrecision::kFast});
  for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    for (const std::int64_t rows : {1, 3, 14, 45}) {
      const Problem problem({rows, 1100, 50}, random_);

      const auto actual = problem.Compute(fast_.device, fast_.backend, format, Then::kStore);

      EXPECT_EQ(actual, problem.Compute(portable.device, portable.backend, format, Then::kStore));
    }
  }
}

TEST_P(LinearTest, NotFiniteActivationsSpoilTheirOwnRowOnly) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const WeightFormat format : kFormats) {
      Problem problem({3, 70, 20}, random_);
      problem.x[70 + 65] = bad;

      const auto y = problem.Compute(fast_.device, fast_.backend, format, Then::kStore);

      for (std::size_t i = 0; i < y.size(); ++i)
        EXPECT_EQ(std::isfinite(y[i]), i / 20 != 1) << NameOf({format}) << " " << i;
    }
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

CODEGEN_ON_EVERY_LEVEL(LinearTest);

}  // namespace
}  // namespace codegen::cpu
