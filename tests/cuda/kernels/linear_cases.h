// SPDX-License-Identifier: Apache-2.0
//
// Products of matrices for tests of kernels: operands in every format, and what should come out by
// plain loops in double precision over the numbers that the weights stand for.
#ifndef CODEGEN_TESTS_CUDA_KERNELS_LINEAR_CASES_H_
#define CODEGEN_TESTS_CUDA_KERNELS_LINEAR_CASES_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "cuda/kernels/device_array.h"
#include "cuda/kernels/linear.h"
#include "quant/format.h"

namespace codegen::cuda {

static_assert(kInt4GroupInputs == quant::kInt4Group);
static_assert(sizeof(Int4Scale) == sizeof(quant::Int4Scale));

// All products here are of rows that come behind so many others.
inline constexpr int kRowsBefore = 3;

// Rows that there are of row_capacity that there can be.
struct LinearShape {
  int rows = 1;
  int row_capacity = 1;
  int inputs = 8;
  int outputs = 1;
};

inline std::size_t Index(int row, int columns, int column) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) +
         static_cast<std::size_t>(column);
}

inline double Number(float x) { return x; }
inline double Number(__nv_bfloat16 x) { return __bfloat162float(x); }
inline double Number(__half x) { return __half2float(x); }

template <class T>
T Rounded(float x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return __float2bfloat16_rn(x);
  if constexpr (std::is_same_v<T, __half>) return __float2half_rn(x);
  if constexpr (std::is_same_v<T, float>) return x;
}

template <class T>
T NotANumber() {
  return Rounded<T>(std::numeric_limits<float>::quiet_NaN());
}

inline std::vector<float> Normal(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& number : numbers) number = normal(random);
  return numbers;
}

// A matrix in the layout of linear.h. What fills rows up is 0xA5 in every byte.
template <class W>
struct LinearWeights {
  std::vector<W> w;
  std::vector<ScaleOf<W>> scales;
  std::vector<float> meant;  // [outputs, inputs]: what they stand for
};

template <class W>
void PutRow(const std::vector<float>& row, int output, LinearWeights<W>& weights) {
  W* const to = weights.w.data() + Index(output, RowPieces<W>(static_cast<int>(row.size())), 0) *
                                       (kPieceBytes / sizeof(W));
  if constexpr (std::is_same_v<W, std::int8_t>) {
    const float scale = quant::QuantizeInt8(row, {to, row.size()});
    weights.scales.push_back(scale);
    for (std::size_t i = 0; i < row.size(); ++i)
      weights.meant.push_back(static_cast<float>(to[i]) * scale);
  } else if constexpr (kIsInt4<W>) {
    for (std::size_t first = 0; first < row.size(); first += kInt4GroupInputs) {
      const std::size_t count = std::min<std::size_t>(kInt4GroupInputs, row.size() - first);
      std::vector<std::uint8_t> codes(count);
      const quant::Int4Scale scale = quant::QuantizeInt4({row.data() + first, count}, codes);
      Int4Scale& stored = weights.scales.emplace_back();
      memcpy(&stored, &scale, sizeof stored);
      const quant::Int4Grid grid(scale);
      for (std::size_t i = 0; i < count; ++i) {
        const int bit = Int4Word::Bit(static_cast<int>(i % 8));
        std::uint32_t& word = to[(first + i) / 8].codes;
        word = (word & ~(0xFU << bit)) | static_cast<std::uint32_t>(codes[i]) << bit;
        weights.meant.push_back(grid.Value(codes[i]));
      }
    }
  } else {
    for (std::size_t i = 0; i < row.size(); ++i) {
      to[i] = Rounded<W>(row[i]);
      weights.meant.push_back(static_cast<float>(Number(to[i])));
    }
  }
}

template <class W>
LinearWeights<W> MakeWeights(const LinearShape& shape, unsigned seed) {
  LinearWeights<W> weights;
  weights.w.resize(Index(shape.outputs, RowPieces<W>(shape.inputs), 0) * (kPieceBytes / sizeof(W)));
  memset(static_cast<void*>(weights.w.data()), 0xA5, weights.w.size() * sizeof(W));
  for (int output = 0; output < shape.outputs; ++output)
    PutRow(Normal(static_cast<std::size_t>(shape.inputs), seed + static_cast<unsigned>(output)),
           output, weights);
  if (weights.scales.empty()) weights.scales.resize(1);  // there is no memory of no bytes
  return weights;
}

// A product in the memory of the device, and what should come out of it. Rows beyond those that
// there are hold NaN.
template <class W, class X, class Y>
class LinearCase {
 public:
  LinearCase(const LinearShape& shape, backend::Then then)
      : shape_(shape),
        then_(then),
        weights_(MakeWeights<W>(shape, 100)),
        x_(Rows<X>(shape.inputs, 1)),
        y_(Rows<Y>(shape.outputs, 2)),
        bias_(Normal(static_cast<std::size_t>(shape.outputs), 3)),
        device_w_(weights_.w),
        device_scales_(weights_.scales),
        device_x_(x_),
        device_y_(y_),
        device_bias_(bias_),
        device_rows_({kRowsBefore + shape.rows}) {}

  LinearArgs<W, X, Y> args() const {
    return {.x = device_x_.data(),
            .w = device_w_.data(),
            .scales = device_scales_.data(),
            .bias = device_bias_.data(),
            .y = device_y_.data(),
            .rows = device_rows_.data(),
            .rows_before = kRowsBefore,
            .row_capacity = shape_.row_capacity,
            .inputs = shape_.inputs,
            .outputs = shape_.outputs,
            .then = then_};
  }

  std::vector<Y> y() const { return device_y_.Host(); }

  // Every y is within the error that its additions may have; those of other rows are as they were.
  void ExpectProduct(bool with_bias = true) const {
    const std::vector<Y> result = y();
    for (int row = 0; row < shape_.row_capacity; ++row) {
      for (int output = 0; output < shape_.outputs; ++output) {
        const std::size_t i = Index(row, shape_.outputs, output);
        if (row >= shape_.rows) {
          ASSERT_TRUE(std::isnan(Number(result[i]))) << "row " << row << ", output " << output;
          continue;
        }
        const Expected expected = Expect(row, output, with_bias);
        ASSERT_NEAR(Number(result[i]), expected.value, expected.tolerance)
            << "row " << row << ", output " << output;
      }
    }
  }

 private:
  struct Expected {
    double value;
    double tolerance;
  };

  template <class T>
  std::vector<T> Rows(int columns, unsigned seed) const {
    const std::size_t used = Index(shape_.rows, columns, 0);
    std::vector<T> rows(Index(shape_.row_capacity, columns, 0), NotANumber<T>());
    const std::vector<float> numbers = Normal(used, seed);
    for (std::size_t i = 0; i < used; ++i) rows[i] = Rounded<T>(numbers[i]);
    return rows;
  }

  // A sum of n products has an error of n halves of a unit in the last place of the sum of their
  // magnitudes at most, and of about the root of it in practice. Codes of int4 are summed before
  // their minimum is, so their magnitudes are up to three times those of the weights; matrix units
  // cut off where others round. Then the error of gelu, whose slope is at most 1.13, and of
  // rounding y.
  Expected Expect(int row, int output, bool with_bias) const {
    double sum = with_bias ? bias_[static_cast<std::size_t>(output)] : 0;
    double magnitude = std::abs(sum);
    for (int input = 0; input < shape_.inputs; ++input) {
      const double product = Number(x_[Index(row, shape_.inputs, input)]) *
                             weights_.meant[Index(output, shape_.inputs, input)];
      sum += product;
      magnitude += std::abs(product);
    }
    const double before = Number(y_[Index(row, shape_.outputs, output)]);
    if (then_ == backend::Then::kAdd) sum += before;
    if (then_ == backend::Then::kAdd) magnitude += std::abs(before);
    constexpr double kSqrt2OverPi = 0.79788456080286535588;
    if (then_ == backend::Then::kGelu)
      sum *= (1 + std::tanh(kSqrt2OverPi * (sum + 0.044715 * sum * sum * sum))) / 2;
    constexpr double kRounding = std::is_same_v<Y, float> ? 0x1p-23 : 0x1p-8;
    return {sum, 4 * std::sqrt(shape_.inputs + 8.0) * 0x1p-24 * magnitude +
                     kRounding * std::abs(sum) + 1e-30};
  }

  LinearShape shape_;
  backend::Then then_;
  LinearWeights<W> weights_;
  std::vector<X> x_;
  std::vector<Y> y_;
  std::vector<float> bias_;
  DeviceArray<W> device_w_;
  DeviceArray<ScaleOf<W>> device_scales_;
  DeviceArray<X> device_x_;
  DeviceArray<Y> device_y_;
  DeviceArray<float> device_bias_;
  DeviceArray<std::int32_t> device_rows_;
};

// The bits of row `row` of y.
template <class Y>
std::vector<std::uint8_t> RowBits(const std::vector<Y>& y, int row, int outputs) {
  std::vector<std::uint8_t> bits(static_cast<std::size_t>(outputs) * sizeof(Y));
  memcpy(bits.data(), y.data() + Index(row, outputs, 0), bits.size());
  return bits;
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_CUDA_KERNELS_LINEAR_CASES_H_
