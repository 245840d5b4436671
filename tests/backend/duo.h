// SPDX-License-Identifier: Apache-2.0
//
// A backend under test beside the oracle: every object is made twice and every call made on both,
// so that a conformance test reads like the formula that it is about.
//
// To test another backend, write a header like cpu_subjects.h and compile the tests with it as
// CODEGEN_SUBJECTS.
#ifndef CODEGEN_TESTS_BACKEND_DUO_H_
#define CODEGEN_TESTS_BACKEND_DUO_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/step.h"
#include "support/reference_backend.h"
#include "tensor/half.h"

namespace codegen::testing {

using backend::Holds;

// A fixture for one subject: skips where the machine lacks what it needs.
template <class Subject>
class SubjectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Subject::WhyNot(); !why.empty()) GTEST_SKIP() << why;
  }
};

struct SubjectName {
  template <class Subject>
  static std::string GetName(int) {
    return Subject::Name();
  }
};

// The unit roundoff of float32.
inline constexpr double kRoundoff = 0x1p-24;

// The error of a float32 sum or inner product of `additions` terms, as a multiple of the sum of the
// terms' magnitudes. Roundings are as good as independent, so their sum grows with the root of
// their number: the bound 6 sqrt(n) u fails less than once in 10^7 (Higham and Mary, "A new
// approach to probabilistic rounding error analysis", 2019, theorem 3.1 with lambda = 6), in any
// order of summation, with fused multiplication or without.
inline double SumError(std::int64_t additions) {
  return 6 * std::sqrt(static_cast<double>(additions + 1)) * kRoundoff;
}

inline std::vector<float> Uniform(std::mt19937& random, std::int64_t count, float magnitude = 1) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values)
    value = (static_cast<float>(random() >> 8) * 0x1p-23F - 1) * magnitude;
  return values;
}

// A source that reads [rows, columns] from `values`, which it keeps alive.
inline backend::MatrixSource SourceOf(std::vector<float> values, std::int64_t columns) {
  auto shared = std::make_shared<const std::vector<float>>(std::move(values));
  const std::int64_t rows = static_cast<std::int64_t>(shared->size()) / columns;
  return {.rows = rows,
          .columns = columns,
          .read = [shared, columns](std::int64_t first, std::int64_t count, std::span<float> out) {
            std::copy_n(shared->begin() + first * columns, count * columns, out.begin());
            return absl::OkStatus();
          }};
}

template <class Subject>
class Duo {
 public:
  using Device = typename Subject::Backend::Device;
  template <class Tested, class Expected>
  struct Both {
    Tested tested;
    Expected expected;
  };
  using Tensor = Both<typename Device::Tensor, ReferenceDevice::Tensor>;
  using Weight = Both<typename Device::Weight, ReferenceDevice::Weight>;
  using Embedding = Both<typename Device::Embedding, ReferenceDevice::Embedding>;
  using Norm = Both<typename Device::Norm, ReferenceDevice::Norm>;
  using KvLayer = Both<typename Device::KvLayer, ReferenceDevice::KvLayer>;

  Subject& subject() { return subject_; }

  // [rows, columns], unset. Of the capacity only `rows` are needed; more must not matter.
  Tensor MakeTensor(std::int64_t rows, std::int64_t columns, Holds holds = Holds::kSums) {
    Tensor tensor{*subject_.device.MakeTensor(rows + 3, columns, holds), {rows, columns}};
    tensor.tested.SetRows(rows);
    return tensor;
  }

  // Factors are rounded as the subject holds them, so that both have the same.
  Tensor MakeTensor(std::span<const float> values, std::int64_t columns,
                    Holds holds = Holds::kSums) {
    Tensor tensor = MakeTensor(static_cast<std::int64_t>(values.size()) / columns, columns, holds);
    std::vector<float> held(values.begin(), values.end());
    if (holds == Holds::kFactors && Subject::kFactorRoundoff > kRoundoff)
      for (float& value : held) value = tensor::FloatFromBf16(tensor::Bf16FromFloat(value));
    Upload(held, tensor.tested);
    reference_device_.Upload(held, tensor.expected);
    return tensor;
  }

  void Upload(std::span<const float> values, typename Device::Tensor& y) {
    ASSERT_EQ(backend::Upload(subject_.device, values, y), absl::OkStatus());
  }
  void Download(const typename Device::Tensor& x, std::span<float> out) {
    ASSERT_EQ(backend::Download(subject_.device, x, out), absl::OkStatus());
  }

  Weight MakeWeight(const backend::MatrixSource& source, std::span<const float> bias,
                    WeightFormat format) {
    return {*subject_.device.MakeWeight(source, bias, format),
            *reference_device_.MakeWeight(source, bias, format)};
  }

  Embedding MakeEmbedding(const backend::MatrixSource& source, WeightFormat format) {
    return {*subject_.device.MakeEmbedding(source, format),
            *reference_device_.MakeEmbedding(source, format)};
  }

  Norm MakeNorm(std::span<const float> gain, std::span<const float> bias, float epsilon) {
    return {*subject_.device.MakeNorm(gain, bias, epsilon),
            *reference_device_.MakeNorm(gain, bias, epsilon)};
  }

  KvLayer MakeKvLayer(std::int64_t pages, const backend::Heads& heads) {
    return {*subject_.device.MakeKvLayer(pages, heads),
            *reference_device_.MakeKvLayer(pages, heads)};
  }

  void Embed(std::span<const TokenId> tokens, const Embedding& e, Tensor& y) {
    subject_.backend.Embed(tokens, e.tested, y.tested);
    reference_.Embed(tokens, e.expected, y.expected);
  }
  void LayerNorm(const Tensor& x, const Norm& n, Tensor& y) {
    subject_.backend.LayerNorm(x.tested, n.tested, y.tested);
    reference_.LayerNorm(x.expected, n.expected, y.expected);
  }
  void RmsNorm(const Tensor& x, const Norm& n, Tensor& y) {
    subject_.backend.RmsNorm(x.tested, n.tested, y.tested);
    reference_.RmsNorm(x.expected, n.expected, y.expected);
  }
  void Linear(const Tensor& x, const Weight& w, backend::Then then, Tensor& y) {
    subject_.backend.Linear(x.tested, w.tested, then, y.tested);
    reference_.Linear(x.expected, w.expected, then, y.expected);
  }
  void Attend(const Tensor& x, const backend::Rows& rows, const backend::Heads& heads, KvLayer& kv,
              Tensor& y) {
    subject_.backend.Attend(x.tested, rows, heads, kv.tested, y.tested);
    reference_.Attend(x.expected, rows, heads, kv.expected, y.expected);
  }
  void SwiGlu(const Tensor& x, Tensor& y) {
    subject_.backend.SwiGlu(x.tested, y.tested);
    reference_.SwiGlu(x.expected, y.expected);
  }
  void Add(const Tensor& x, Tensor& y) {
    subject_.backend.Add(x.tested, y.tested);
    reference_.Add(x.expected, y.expected);
  }
  void AllReduce(Tensor& y) {
    subject_.backend.AllReduce(y.tested);
    reference_.AllReduce(y.expected);
  }
  void Gather(const Tensor& x, std::span<const std::int32_t> rows, Tensor& y) {
    subject_.backend.Gather(x.tested, rows, y.tested);
    reference_.Gather(x.expected, rows, y.expected);
  }

  // What the subject computed.
  std::vector<float> Result(const Tensor& y) {
    std::vector<float> values(static_cast<std::size_t>(y.tested.rows() * y.tested.columns()));
    Download(y.tested, values);
    return values;
  }

  // Row t of `result` = Result(y).
  static std::span<const float> Row(std::span<const float> result, const Tensor& y,
                                    std::int64_t t) {
    const auto columns = static_cast<std::size_t>(y.tested.columns());
    return result.subspan(static_cast<std::size_t>(t) * columns, columns);
  }

  // Compares with the oracle; `tolerance(i)` is that of element i of the flat matrix.
  template <class Tolerance>
  void ExpectNear(const Tensor& y, const Tolerance& tolerance) {
    const std::vector<float> result = Result(y);
    ASSERT_EQ(result.size(), y.expected.values().size());
    for (std::size_t i = 0; i < result.size(); ++i) {
      const double expected = y.expected.values()[i];
      // Negated, so that NaN is an error.
      if (!(std::abs(result[i] - expected) <= tolerance(i))) {
        const auto columns = static_cast<std::size_t>(y.expected.columns());
        FAIL() << "element [" << i / columns << ", " << i % columns << "] is " << result[i]
               << ", expected " << expected << " to " << tolerance(i);
      }
    }
  }

  void ExpectEqual(const Tensor& y) {
    ExpectNear(y, [](std::size_t) { return 0.0; });
  }

  void ExpectLiterally(const Tensor& y, const std::vector<double>& expected, double tolerance) {
    const std::vector<float> result = Result(y);
    ASSERT_EQ(result.size(), expected.size());
    for (std::size_t i = 0; i < result.size(); ++i)
      EXPECT_NEAR(result[i], expected[i], tolerance) << "element " << i;
  }

 private:
  Subject subject_;
  ReferenceDevice reference_device_;
  ReferenceBackend reference_;
};

// Whether two rows hold the same bits, or for a subject that does not promise it nearly the same
// numbers.
template <class Subject>
void ExpectSameRow(std::span<const float> a, std::span<const float> b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if constexpr (Subject::kSameBitsInAnyBatch) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(a[i]), std::bit_cast<std::uint32_t>(b[i]))
          << "element " << i << ": " << a[i] << " and " << b[i];
    } else {
      ASSERT_NEAR(a[i], b[i], (1e-5 + 8 * Subject::kFactorRoundoff) * (1 + std::abs(a[i])))
          << "element " << i;
    }
  }
}

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_BACKEND_DUO_H_
