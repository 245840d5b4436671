// SPDX-License-Identifier: Apache-2.0
//
// What the quantised formats are: the numbers they stand for, and how floats become them. Plain
// loops; every device's own packing and kernels are held to this page.
//
//   int8  a row of weights [inputs]: q in [-127, 127] and one float scale, w = q scale.
//         scale = largest |w| / 127, q = w / scale rounded to nearest even.
//   int4  a row in groups of kInt4Group inputs: q in [0, 15], and two float16 numbers per group,
//         w = q scale + minimum, chosen for little squared error (Int4Fit below);
//         q = (w - minimum) (1 / scale), rounded to nearest even.
//   activations  a row of one token: as an int8 row of weights, made anew for every product.
//
// Why asymmetric groups of 128, 4.25 bits per weight: of all that bench/quality compares they move
// the perplexity of the shipped model about least (+1.5 % before there was a fit; symmetric groups
// of 32, 4.5 bits, +2.4 % at the same divergence), and groups of 64 take 6 % more bytes and time
// for a fifth less divergence.
//
// Why the fit: on three texts it takes 12, 13 and 19 % off the divergence, and moves the change of
// perplexity from +3.1, +1.5 and +3.6 % to +2.1, +1.9 and +2.3 %.
#ifndef CODEGEN_QUANT_FORMAT_H_
#define CODEGEN_QUANT_FORMAT_H_

#include <absl/status/status.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>

#include "codegen/options.h"
#include "tensor/half.h"

namespace codegen::quant {

inline constexpr std::int64_t kInt4Group = 128;

// A row of int8 whose largest magnitude is below this is zero for every purpose: 127 / largest
// would overflow.
inline constexpr float kLeastInt8 = 4e-37F;

// Rounds `row` to int8 and returns its scale: 0 for zeros, NaN where an element is not finite.
// Requires: q.size() == row.size().
float QuantizeInt8(std::span<const float> row, std::span<std::int8_t> q);

// Scale and minimum of a group of int4, as float16 bits.
struct Int4Scale {
  std::uint16_t scale = 0;
  std::uint16_t minimum = 0;
};

// Of a group whose elements are not all finite: NaN.
inline constexpr Int4Scale kNotFinite = {.scale = 0x7E00, .minimum = 0x7E00};

// The 16 numbers of a group.
class Int4Grid {
 public:
  explicit Int4Grid(Int4Scale packed)
      : scale_(tensor::FloatFromF16(packed.scale)),
        minimum_(tensor::FloatFromF16(packed.minimum)),
        factor_(scale_ == 0 ? 0.0F : 1 / scale_) {}

  bool IsFinite() const { return std::isfinite(scale_) && std::isfinite(minimum_); }
  // q of the nearest one.
  std::uint8_t Code(float value) const {
    const float steps = std::nearbyint((value - minimum_) * factor_);
    return static_cast<std::uint8_t>(std::clamp(steps, 0.0F, 15.0F));
  }
  float Value(std::uint8_t code) const { return static_cast<float>(code) * scale_ + minimum_; }

 private:
  float scale_;
  float minimum_;
  float factor_;  // 0: every code is 0
};

// The fit of scale and minimum. An element becomes its position in the range of its group, an
// integer from 0 to kLastPosition. Positions are rounded to levels in a few ways that cut a little
// off the ends of the range, and for each the line through the levels is fitted by least squares;
// the line that leaves the least error is taken. All that is summed are integers: no sum depends on
// its order.
inline constexpr std::int32_t kPositionsPerLevel = 2048;
inline constexpr std::int32_t kLastPosition = 15 * kPositionsPerLevel;

// What may stand where a vector reaches beyond a group: level 0 in every rounding.
inline constexpr std::int16_t kNoPosition = -kPositionsPerLevel;

// The range of a group between two finite numbers.
struct Int4Range {
  float least = 0;
  float largest = 0;

  // Scale and minimum without a fit: (largest - least) / 15 and least.
  Int4Scale Whole() const;

  // Whether that scale is neither 0 nor infinite in float16. If not, there is nothing to fit.
  bool CanFit() const {
    const float scale = (largest - least) / 15;
    return scale > 0x1p-25F && scale < 65520;
  }

  // What w - least is multiplied by to become a position, rounded to nearest even.
  float PositionFactor() const { return static_cast<float>(kLastPosition) / (largest - least); }
};

// A rounding of positions: level = min(15, max(position + offset, 0) factor / 2^25, rounded down).
// The sum is less than 2^15, the product less than 2^31.
struct Int4Levels {
  std::int16_t offset = 0;
  std::uint16_t factor = 0;
};

extern const std::array<Int4Levels, 3> kTriedLevels;

// Over a group: sums of levels, of their squares, and of the products of level and position.
struct Int4Sums {
  std::int32_t levels = 0;
  std::int32_t squares = 0;  // < 2^15
  std::int32_t products = 0;
};

// Takes the sums of each of kTriedLevels, then knows the scale.
class Int4Fit {
 public:
  // Of a group of `count` positions whose sum is `sum`. Requires: range.CanFit().
  Int4Fit(Int4Range range, std::int64_t count, std::int64_t sum)
      : range_(range), count_(count), sum_(sum) {}

  // Without a branch, which would be a toss of a coin.
  void Take(const Int4Sums& sums) {
    const auto slope = static_cast<double>(Slope(sums));
    const double worth = slope * slope / static_cast<double>(Spread(sums));
    kept_[worth > worth_ ? 0 : 1] = sums;
    worth_ = std::max(worth_, worth);
  }

  Int4Scale Scale() const;

 private:
  // With these, position ~ level slope / spread + start / spread.
  std::int64_t Spread(const Int4Sums& sums) const {
    return count_ * sums.squares - std::int64_t{sums.levels} * sums.levels;
  }
  std::int64_t Slope(const Int4Sums& sums) const {
    return count_ * sums.products - sums.levels * sum_;
  }
  std::int64_t Start(const Int4Sums& sums) const {
    return sum_ * sums.squares - std::int64_t{sums.levels} * sums.products;
  }

  Int4Range range_;
  std::int64_t count_ = 0;
  std::int64_t sum_ = 0;
  std::array<Int4Sums, 2> kept_ = {};  // the best, and the last that was not
  double worth_ = 0;                   // of the best: how much of the squared error it explains
};

// Rounds a group, or what is left of one at the end of a row, to [0, 15]. Elements that are not
// finite give a scale that is not. Requires: q.size() == group.size() <= kInt4Group.
Int4Scale QuantizeInt4(std::span<const float> group, std::span<std::uint8_t> q);

constexpr std::int64_t Int4Groups(std::int64_t columns) {
  return (columns + kInt4Group - 1) / kInt4Group;
}

// A matrix [rows, columns] that was rounded to int4 by other means. `read` writes rows [first,
// first + count): codes [count, columns] in [0, 15], scales [count, Int4Groups(columns)]; it may be
// called from several threads at once.
struct Int4Source {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::function<absl::Status(std::int64_t first, std::int64_t count, std::span<std::uint8_t> codes,
                             std::span<Int4Scale> scales)>
      read = {};
};

// What a matrix [rows, columns] takes in `format`, scales included, padding not. Requires: not
// kAuto.
std::int64_t MatrixBytes(WeightFormat format, std::int64_t rows, std::int64_t columns);

// Replaces a row by the numbers that `format` holds for it. Requires: not kAuto.
void RoundTo(WeightFormat format, std::span<float> row);

}  // namespace codegen::quant

#endif  // CODEGEN_QUANT_FORMAT_H_
