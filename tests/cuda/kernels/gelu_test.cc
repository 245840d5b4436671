// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/gelu.cuh"

#include <cmath>
#include <vector>

#include "cuda/kernels/row_shapes.h"
#include "support/simt/grid.h"

namespace codegen::cuda {
namespace {

double GeluAsDefined(double v) {
  return v * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v))) / 2;
}

std::vector<float> GeluOf(const std::vector<float>& v) {
  std::vector<float> y(v.size());
  const bool ok = simt::RunGrid({.grid = dim3(1), .block = dim3(32)}, "gelu", [&] {
    for (std::size_t i = threadIdx.x; i < v.size(); i += 32) y[i] = Gelu(v[i]);
  });
  EXPECT_TRUE(ok);
  EXPECT_THAT(simt::TakeDiagnostics(), testing::IsEmpty());
  return y;
}

// The argument of the exponential, up to 20, is off by 4 roundings; so is the exponential by 80,
// where it counts.
TEST(Gelu, IsTheTanhFormula) {
  std::vector<float> v;
  for (int i = -6000; i <= 10000; ++i) v.push_back(static_cast<float>(i) / 1000);

  const std::vector<float> y = GeluOf(v);

  for (std::size_t i = 0; i < v.size(); ++i) {
    const double want = GeluAsDefined(v[i]);
    EXPECT_NEAR(y[i], want, std::abs(want) * 100 * 0x1p-24 + 1e-15) << v[i];
  }
}

TEST(Gelu, IsRightFarFromZero) {
  EXPECT_THAT(GeluOf({-1e30F, -1e13F, -40, 0, 40, 1e13F, 1e30F, INFINITY}),
              testing::ElementsAre(0, 0, 0, 0, 40, 1e13F, 1e30F, INFINITY));
}

TEST(Gelu, KeepsNan) { EXPECT_TRUE(std::isnan(GeluOf({NAN})[0])); }

}  // namespace
}  // namespace codegen::cuda
