// SPDX-License-Identifier: Apache-2.0
#include "quant/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/half.h"

namespace codegen::quant {
namespace {

constexpr float kLargestInt8 = 127.0F;
constexpr float kLargestInt4 = 15.0F;

bool AllFinite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

void RoundToInt8(std::span<float> row) {
  std::vector<std::int8_t> q(row.size());
  const float scale = QuantizeInt8(row, q);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(q[i]) * scale;
}

void RoundToInt4(std::span<float> row) {
  std::array<std::uint8_t, kInt4Group> q{};
  for (std::size_t first = 0; first < row.size(); first += q.size()) {
    const std::span<float> group = row.subspan(first, std::min(q.size(), row.size() - first));
    const Int4Scale scale = QuantizeInt4(group, std::span(q).first(group.size()));
    for (std::size_t i = 0; i < group.size(); ++i)
      group[i] = static_cast<float>(q[i]) * tensor::FloatFromF16(scale.scale) +
                 tensor::FloatFromF16(scale.minimum);
  }
}

}  // namespace

float QuantizeInt8(std::span<const float> row, std::span<std::int8_t> q) {
  std::ranges::fill(q, std::int8_t{0});
  if (!AllFinite(row)) return std::numeric_limits<float>::quiet_NaN();
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  if (largest < kLeastInt8) return 0.0F;
  const float factor = kLargestInt8 / largest;
  for (std::size_t i = 0; i < row.size(); ++i)
    q[i] = static_cast<std::int8_t>(std::nearbyint(row[i] * factor));
  return largest / kLargestInt8;
}

// The sums turn -0 into 0: which of the two is the least of a group is nobody's business.
Int4Scale Int4ScaleOf(float least, float largest) {
  return {.scale = tensor::F16FromFloat((largest - least) / kLargestInt4 + 0.0F),
          .minimum = tensor::F16FromFloat(least + 0.0F)};
}

Int4Scale QuantizeInt4(std::span<const float> group, std::span<std::uint8_t> q) {
  std::ranges::fill(q, std::uint8_t{0});
  if (!AllFinite(group)) return kNotFinite;
  const auto [least, largest] = std::ranges::minmax(group);
  const Int4Scale packed = Int4ScaleOf(least, largest);
  const float scale = tensor::FloatFromF16(packed.scale);
  const float minimum = tensor::FloatFromF16(packed.minimum);
  if (scale == 0) return packed;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const float steps = std::nearbyint((group[i] - minimum) / scale);
    q[i] = static_cast<std::uint8_t>(std::clamp(steps, 0.0F, kLargestInt4));
  }
  return packed;
}

std::int64_t MatrixBytes(WeightFormat format, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kGroupBytes = kInt4Group / 2 + sizeof(Int4Scale);
  switch (format) {
    case WeightFormat::kBf16:
    case WeightFormat::kF16:
      return rows * columns * 2;
    case WeightFormat::kInt8:
      return rows * (columns + std::int64_t{sizeof(float)});
    case WeightFormat::kInt4:
      return rows * ((columns + kInt4Group - 1) / kInt4Group) * kGroupBytes;
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      break;
  }
  return rows * columns * 4;
}

void RoundTo(WeightFormat format, std::span<float> row) {
  switch (format) {
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      return;
    case WeightFormat::kBf16:
      for (float& value : row) value = tensor::FloatFromBf16(tensor::Bf16FromFloat(value));
      return;
    case WeightFormat::kF16:
      for (float& value : row) value = tensor::FloatFromF16(tensor::F16FromFloat(value));
      return;
    case WeightFormat::kInt8:
      return RoundToInt8(row);
    case WeightFormat::kInt4:
      return RoundToInt4(row);
  }
}

}  // namespace codegen::quant
