// SPDX-License-Identifier: Apache-2.0
//
// The oracle: a Backend in plain loops over doubles, to be read next to the formulas in
// backend/backend.h and nothing else. No tricks, no blocking, no reuse; O(everything).
//
// Activations, keys and values are doubles. Weights are the exact values that their format holds
// (float32 as it is, bfloat16 and float16 rounded as tensor/half.h does). Everything unset is NaN,
// so that reading it shows: rows after SetRows, and pages never written.
#ifndef CODEGEN_TESTS_SUPPORT_REFERENCE_BACKEND_H_
#define CODEGEN_TESTS_SUPPORT_REFERENCE_BACKEND_H_

#include <absl/status/statusor.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/rows.h"
#include "backend/sampling.h"
#include "base/check.h"
#include "codegen/options.h"
#include "quant/format.h"

namespace codegen::testing {

// A matrix of doubles [rows, columns]: every object of the reference device is made of these.
class ReferenceMatrix {
 public:
  ReferenceMatrix() = default;
  ReferenceMatrix(std::int64_t rows, std::int64_t columns) : columns_(columns) { SetRows(rows); }

  void SetRows(std::int64_t rows) {
    rows_ = rows;
    values_.assign(static_cast<std::size_t>(rows * columns_),
                   std::numeric_limits<double>::quiet_NaN());
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  std::span<double> operator[](std::int64_t row) {
    return std::span(values_).subspan(static_cast<std::size_t>(row * columns_),
                                      static_cast<std::size_t>(columns_));
  }
  std::span<const double> operator[](std::int64_t row) const {
    return std::span(values_).subspan(static_cast<std::size_t>(row * columns_),
                                      static_cast<std::size_t>(columns_));
  }
  std::span<double> values() { return values_; }
  std::span<const double> values() const { return values_; }

 private:
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::vector<double> values_;
};

class ReferenceDevice {
 public:
  using Tensor = ReferenceMatrix;

  struct Weight {
    std::int64_t outputs = 0;
    std::int64_t inputs = 0;
    ReferenceMatrix matrix;    // [outputs, inputs]
    std::vector<double> bias;  // [outputs]; zeros without a bias
  };

  struct Embedding {
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    ReferenceMatrix matrix;
  };

  struct Norm {
    std::int64_t columns = 0;
    std::vector<double> gain;
    std::vector<double> bias;  // [columns], or empty for RmsNorm
    double epsilon = 0;
  };

  struct KvLayer {
    std::int64_t pages = 0;
    ReferenceMatrix keys;    // row page * kPageTokens + slot: one position [heads, dim]
    ReferenceMatrix values;  // the same
  };

  absl::StatusOr<Tensor> MakeTensor(std::int64_t capacity, std::int64_t columns,
                                    backend::Holds = backend::Holds::kSums) {
    return Tensor(capacity, columns);
  }

  absl::StatusOr<Weight> MakeWeight(const backend::MatrixSource& source,
                                    std::span<const float> bias, WeightFormat format) {
    CODEGEN_ASSIGN_OR_RETURN(ReferenceMatrix matrix, Read(source, format));
    std::vector<double> doubles(bias.begin(), bias.end());
    doubles.resize(static_cast<std::size_t>(source.rows));
    return Weight{.outputs = source.rows,
                  .inputs = source.columns,
                  .matrix = std::move(matrix),
                  .bias = std::move(doubles)};
  }

  absl::StatusOr<Embedding> MakeEmbedding(const backend::MatrixSource& source,
                                          WeightFormat format) {
    // No embedding is held in less than int8.
    const bool int4 = format == WeightFormat::kInt4;
    CODEGEN_ASSIGN_OR_RETURN(ReferenceMatrix matrix,
                             Read(source, int4 ? WeightFormat::kInt8 : format));
    return Embedding{.rows = source.rows, .columns = source.columns, .matrix = std::move(matrix)};
  }

  absl::StatusOr<Norm> MakeNorm(std::span<const float> gain, std::span<const float> bias,
                                float epsilon) {
    return Norm{.columns = static_cast<std::int64_t>(gain.size()),
                .gain = std::vector<double>(gain.begin(), gain.end()),
                .bias = std::vector<double>(bias.begin(), bias.end()),
                .epsilon = epsilon};
  }

  absl::StatusOr<KvLayer> MakeKvLayer(std::int64_t pages, const backend::Heads& heads) {
    const std::int64_t slots = pages * backend::kPageTokens;
    const std::int64_t columns = std::int64_t{heads.count} * heads.dim;
    return KvLayer{.pages = pages, .keys = {slots, columns}, .values = {slots, columns}};
  }

  void Upload(std::span<const float> floats, Tensor& y) {
    std::copy(floats.begin(), floats.end(), y.values().begin());
  }

  void Download(const Tensor& x, std::span<float> out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(x.values()[i]);
  }

 private:
  static absl::StatusOr<ReferenceMatrix> Read(const backend::MatrixSource& source,
                                              WeightFormat format) {
    std::vector<float> floats(static_cast<std::size_t>(source.rows * source.columns));
    CODEGEN_RETURN_IF_ERROR(source.read(0, source.rows, floats));
    const auto columns = static_cast<std::size_t>(source.columns);
    for (std::size_t row = 0; row < floats.size(); row += columns)
      quant::RoundTo(format, std::span(floats).subspan(row, columns));
    ReferenceMatrix matrix(source.rows, source.columns);
    std::ranges::copy(floats, matrix.values().begin());
    return matrix;
  }
};

class ReferenceBackend {
 public:
  using Device = ReferenceDevice;
  using Tensor = Device::Tensor;

  ReferenceBackend() = default;
  explicit ReferenceBackend(ReferenceDevice&) {}

  void Embed(std::span<const TokenId> tokens, const Device::Embedding& e, Tensor& y) {
    for (std::int64_t t = 0; t < y.rows(); ++t)
      std::ranges::copy(e.matrix[tokens[static_cast<std::size_t>(t)]], y[t].begin());
  }

  void LayerNorm(const Tensor& x, const Device::Norm& n, Tensor& y) {
    for (std::int64_t t = 0; t < x.rows(); ++t) {
      const auto width = static_cast<double>(x.columns());
      double mean = 0;
      for (const double v : x[t]) mean += v / width;
      double variance = 0;
      for (const double v : x[t]) variance += (v - mean) * (v - mean) / width;
      for (std::size_t i = 0; i < n.gain.size(); ++i)
        y[t][i] = n.gain[i] * (x[t][i] - mean) / std::sqrt(variance + n.epsilon) + n.bias[i];
    }
  }

  void RmsNorm(const Tensor& x, const Device::Norm& n, Tensor& y) {
    for (std::int64_t t = 0; t < x.rows(); ++t) {
      double mean_square = 0;
      for (const double v : x[t]) mean_square += v * v / static_cast<double>(x.columns());
      for (std::size_t i = 0; i < n.gain.size(); ++i)
        y[t][i] = n.gain[i] * x[t][i] / std::sqrt(mean_square + n.epsilon);
    }
  }

  void Linear(const Tensor& x, const Device::Weight& w, backend::Then then, Tensor& y) {
    for (std::int64_t t = 0; t < x.rows(); ++t) {
      for (std::int64_t o = 0; o < w.outputs; ++o) {
        const auto i = static_cast<std::size_t>(o);
        const double product = Dot(x[t], w.matrix[o]) + w.bias[i];
        double& out = y[t][i];
        if (then == backend::Then::kStore) out = product;
        if (then == backend::Then::kAdd) out += product;
        if (then == backend::Then::kGelu) out = Gelu(product);
      }
    }
  }

  // All keys and values of the step are appended before any row attends; positions mask the rest.
  void Attend(const Tensor& x, const backend::Rows& rows, const backend::Heads& heads,
              Device::KvLayer& kv, Tensor& y) {
    const std::size_t dim = static_cast<std::size_t>(heads.dim);
    const std::size_t width = dim * static_cast<std::size_t>(heads.count);
    for (std::int64_t s = 0; s < rows.sequences(); ++s) {
      for (std::int32_t t = FirstRow(rows, s); t < FirstRow(rows, s + 1); ++t) {
        const std::int32_t position = rows.positions[static_cast<std::size_t>(t)];
        const std::int64_t slot = Slot(rows, s, position);
        std::ranges::copy(x[t].subspan(2 * width, width), kv.values[slot].begin());
        for (std::size_t h = 0; h < width; h += dim)
          std::ranges::copy(Rotate(x[t].subspan(width + h, dim), position, heads),
                            kv.keys[slot].subspan(h).begin());
      }
    }
    for (std::int64_t s = 0; s < rows.sequences(); ++s) {
      for (std::int32_t t = FirstRow(rows, s); t < FirstRow(rows, s + 1); ++t) {
        const std::int32_t position = rows.positions[static_cast<std::size_t>(t)];
        std::vector<std::int64_t> slots;  // of the positions <= that of t
        for (std::int32_t p = 0; p <= position; ++p) slots.push_back(Slot(rows, s, p));
        for (std::size_t h = 0; h < width; h += dim)
          AttendHead(Rotate(x[t].subspan(h, dim), position, heads), kv, slots, h,
                     y[t].subspan(h, dim));
      }
    }
  }

  void SwiGlu(const Tensor& x, Tensor& y) {
    const std::size_t width = static_cast<std::size_t>(y.columns());
    for (std::int64_t t = 0; t < x.rows(); ++t) {
      for (std::size_t f = 0; f < width; ++f) y[t][f] = Silu(x[t][f]) * x[t][width + f];
    }
  }

  void Add(const Tensor& x, Tensor& y) {
    for (std::size_t i = 0; i < x.values().size(); ++i) y.values()[i] += x.values()[i];
  }

  void AllReduce(Tensor&) {}
  const Tensor& AllGather(const Tensor& x, Tensor&) { return x; }

  void Gather(const Tensor& x, std::span<const std::int32_t> rows, Tensor& y) {
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::ranges::copy(x[rows[i]], y[static_cast<std::int64_t>(i)].begin());
  }

  void Sample(const Tensor& x, std::span<const backend::Sampling> sampling,
              std::span<backend::SampledToken> tokens) {
    for (std::int64_t t = 0; t < x.rows(); ++t) {
      const std::vector<float> logits(x[t].begin(), x[t].end());
      const auto i = static_cast<std::size_t>(t);
      tokens[i] = backend::SampleRow(logits, sampling[i]);
    }
  }

  static double Gelu(double v) {
    return v * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v))) / 2;
  }
  static double Silu(double v) { return v / (1 + std::exp(-v)); }

  // Returns `head` [dim] turned to `position`.
  static std::vector<double> Rotate(std::span<const double> head, std::int32_t position,
                                    const backend::Heads& heads) {
    std::vector<double> rotated(head.begin(), head.end());
    const bool interleaved = heads.rotary_pairs == backend::RotaryPairs::kInterleaved;
    for (int i = 0; i < heads.rotary_dim / 2; ++i) {
      const double angle =
          position * std::pow(double{heads.rotary_base}, -2.0 * i / heads.rotary_dim);
      const auto a = static_cast<std::size_t>(interleaved ? 2 * i : i);
      const auto b = static_cast<std::size_t>(interleaved ? 2 * i + 1 : i + heads.rotary_dim / 2);
      rotated[a] = head[a] * std::cos(angle) - head[b] * std::sin(angle);
      rotated[b] = head[b] * std::cos(angle) + head[a] * std::sin(angle);
    }
    return rotated;
  }

 private:
  static double Dot(std::span<const double> a, std::span<const double> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }

  static std::int32_t FirstRow(const backend::Rows& rows, std::int64_t sequence) {
    return rows.first_row[static_cast<std::size_t>(sequence)];
  }

  static std::int64_t Slot(const backend::Rows& rows, std::int64_t sequence,
                           std::int32_t position) {
    const auto page =
        rows.first_page[static_cast<std::size_t>(sequence)] + position / backend::kPageTokens;
    return std::int64_t{rows.pages[static_cast<std::size_t>(page)]} * backend::kPageTokens +
           position % backend::kPageTokens;
  }

  // y = softmax(q kT / sqrt(dim)) v over the given slots, for the head at column `first`.
  static void AttendHead(std::span<const double> q, const Device::KvLayer& kv,
                         std::span<const std::int64_t> slots, std::size_t first,
                         std::span<double> y) {
    std::vector<double> scores;
    for (const std::int64_t slot : slots)
      scores.push_back(Dot(q, kv.keys[slot].subspan(first, q.size())) /
                       std::sqrt(static_cast<double>(q.size())));
    const double largest = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (double& score : scores) total += score = std::exp(score - largest);
    std::ranges::fill(y, 0);
    for (std::size_t p = 0; p < slots.size(); ++p) {
      const std::span<const double> value = kv.values[slots[p]].subspan(first, q.size());
      for (std::size_t i = 0; i < y.size(); ++i) y[i] += scores[p] / total * value[i];
    }
  }
};

static_assert(backend::Backend<ReferenceBackend>);

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_REFERENCE_BACKEND_H_
