// SPDX-License-Identifier: Apache-2.0
//
// Ways to round a row of weights to 4 bits, for comparison.
#ifndef CODEGEN_BENCH_QUALITY_ROUNDING_H_
#define CODEGEN_BENCH_QUALITY_ROUNDING_H_

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "tensor/half.h"

namespace codegen::quality {

// How the range of a group is chosen: all of it, or the clipped one with the least squared error.
enum class Range { kWhole, kLeastSquares };

struct Rounding {
  std::size_t group = 0;  // inputs that share a scale; 0: no rounding
  bool symmetric = false;
  Range range = Range::kWhole;

  // 4 bits, and 16 for a scale and for a minimum.
  double BitsPerWeight() const {
    return 4 + (symmetric ? 16.0 : 32.0) / static_cast<double>(group);
  }

  std::string Name() const {
    return fmt::format("int4 {} {}{}, {:.2f} bits", symmetric ? "symmetric" : "asymmetric", group,
                       range == Range::kWhole ? "" : ", clipped", BitsPerWeight());
  }

  void Apply(std::span<float> row) const {
    for (std::size_t first = 0; first < row.size(); first += group)
      ApplyToGroup(row.subspan(first, std::min(group, row.size() - first)));
  }

 private:
  void ApplyToGroup(std::span<float> values) const {
    double best = std::numeric_limits<double>::infinity();
    std::vector<float> chosen(values.begin(), values.end());
    const int shrinks = range == Range::kWhole ? 1 : 20;
    for (int shrink = 0; shrink < shrinks; ++shrink) {
      const std::vector<float> rounded =
          Rounded(values, 1.0F - 0.025F * static_cast<float>(shrink));
      double error = 0;
      for (std::size_t i = 0; i < values.size(); ++i)
        error += std::pow(static_cast<double>(rounded[i]) - values[i], 2);
      if (error >= best) continue;
      best = error;
      chosen = rounded;
    }
    std::ranges::copy(chosen, values.begin());
  }

  // With `share` of the group's range.
  std::vector<float> Rounded(std::span<const float> values, float share) const {
    const auto [least, largest] = std::ranges::minmax(values);
    const float reach = std::max(-least, largest);
    const float low = symmetric ? -8.0F : 0.0F;
    const float high = symmetric ? 7.0F : 15.0F;
    const float step = Half(share * (symmetric ? reach / 7.5F : (largest - least) / 15.0F));
    const float start = symmetric ? 0.0F : Half(least + (1 - share) * (largest - least) / 2);
    std::vector<float> rounded(values.size(), start);
    if (step == 0) return rounded;
    for (std::size_t i = 0; i < values.size(); ++i)
      rounded[i] = std::clamp(std::nearbyint((values[i] - start) / step), low, high) * step + start;
    return rounded;
  }

  static float Half(float value) { return tensor::FloatFromF16(tensor::F16FromFloat(value)); }
};

inline std::vector<Rounding> Alternatives() {
  std::vector<Rounding> all;
  for (const std::size_t group : {32U, 64U, 128U})
    for (const bool symmetric : {false, true})
      for (const Range range : {Range::kWhole, Range::kLeastSquares})
        all.push_back({.group = group, .symmetric = symmetric, .range = range});
  return all;
}

}  // namespace codegen::quality

#endif  // CODEGEN_BENCH_QUALITY_ROUNDING_H_
