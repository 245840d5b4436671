// SPDX-License-Identifier: Apache-2.0
//
// What the quantised formats are: the numbers they stand for, and how floats become them. Plain
// loops; every device's own packing and kernels are held to this page.
//
//   int8  a row of weights [inputs]: q in [-127, 127] and one float scale, w = q scale.
//         scale = largest |w| / 127, q = w / scale rounded to nearest even.
//   int4  a row in groups of kInt4Group inputs: q in [0, 15], and two float16 numbers per group,
//         w = q scale + minimum. scale = (largest - least) / 15, minimum = least.
//   activations  a row of one token: as an int8 row of weights, made anew for every product.
//
// Why asymmetric groups of 128, 4.25 bits per weight: of all that bench/quality compares they move
// the perplexity of the shipped model about least (+1.5 %; symmetric groups of 32, 4.5 bits, +2.4 %
// at the same divergence), and groups of 64 take 6 % more bytes and time for a fifth less
// divergence.
#ifndef CODEGEN_QUANT_FORMAT_H_
#define CODEGEN_QUANT_FORMAT_H_

#include <cstdint>
#include <span>

#include "codegen/options.h"

namespace codegen::quant {

inline constexpr std::int64_t kInt4Group = 128;

// A row of int8 whose largest magnitude is below this is zero for every purpose: 127 / largest would
// overflow.
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

// Scale and minimum of a group between two finite numbers.
Int4Scale Int4ScaleOf(float least, float largest);

// Rounds a group, or what is left of one at the end of a row, to [0, 15]. Elements that are not
// finite give a scale that is not. Requires: q.size() == group.size() <= kInt4Group.
Int4Scale QuantizeInt4(std::span<const float> group, std::span<std::uint8_t> q);

// What a matrix [rows, columns] takes in `format`, scales included, padding not. Requires: not
// kAuto.
std::int64_t MatrixBytes(WeightFormat format, std::int64_t rows, std::int64_t columns);

// Replaces a row by the numbers that `format` holds for it. Requires: not kAuto.
void RoundTo(WeightFormat format, std::span<float> row);

}  // namespace codegen::quant

#endif  // CODEGEN_QUANT_FORMAT_H_
