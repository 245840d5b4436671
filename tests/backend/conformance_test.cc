// SPDX-License-Identifier: Apache-2.0
//
// What every backend must satisfy, operation by operation: numbers computed by hand first, then all
// small shapes, primes and random ones against the oracle. Attention has a file of its own
// (attend_conformance_test.cc).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "backend/duo.h"
#include "backend/sampling.h"
#include "backend/step.h"
#include "support/status_is.h"
#include CODEGEN_SUBJECTS

namespace codegen::testing {
namespace {

using backend::Then;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::array kFormats = {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16,
                                 WeightFormat::kInt8, WeightFormat::kInt4};

template <class Subject>
class Conformance : public SubjectTest<Subject> {
 protected:
  Duo<Subject> duo_;
  std::mt19937 random_{1};
};
TYPED_TEST_SUITE(Conformance, Subjects, SubjectName);

// --- Device -------------------------------------------------------------------------------------

TYPED_TEST(Conformance, DownloadReturnsWhatWasUploaded) {
  for (const std::int64_t columns : {1, 2, 15, 16, 17, 67}) {
    for (const std::int64_t rows : {0, 1, 2, 9}) {
      const std::vector<float> values = Uniform(this->random_, rows * columns);
      auto tensor = this->duo_.MakeTensor(rows, columns);
      this->duo_.Upload(values, tensor.tested);

      EXPECT_EQ(this->duo_.Result(tensor), values);
      EXPECT_EQ(tensor.tested.rows(), rows);
      EXPECT_EQ(tensor.tested.columns(), columns);
    }
  }
}

TYPED_TEST(Conformance, ATensorTakesAnyNumberOfRowsUpToItsCapacity) {
  auto tensor = *this->duo_.subject().device.MakeTensor(5, 3);
  for (const std::int64_t rows : {5, 1, 0, 4}) {
    const std::vector<float> values = Uniform(this->random_, rows * 3);
    std::vector<float> result(values.size());

    tensor.SetRows(rows);
    this->duo_.Upload(values, tensor);
    this->duo_.Download(tensor, result);

    EXPECT_EQ(result, values);
  }
}

TYPED_TEST(Conformance, ASourceThatFailsFailsWhatIsMadeOfIt) {
  auto source = SourceOf(std::vector<float>(100 * 8), 8);
  source.read = [](std::int64_t first, std::int64_t count, std::span<float> out) {
    std::ranges::fill(out, 0.0F);
    return first + count > 60 ? absl::DataLossError("row 60") : absl::OkStatus();
  };
  auto& device = this->duo_.subject().device;

  EXPECT_EQ(device.MakeWeight(source, {}, WeightFormat::kF32).status(),
            absl::DataLossError("row 60"));
  EXPECT_EQ(device.MakeEmbedding(source, WeightFormat::kBf16).status(),
            absl::DataLossError("row 60"));
}

// --- Embed and Gather ---------------------------------------------------------------------------

TYPED_TEST(Conformance, EmbedReadsRowsAsStored) {
  const std::vector<float> values = {1, 2,           3,
                                     4, 1.00390625F, 1e-3F};  // 1 + 2^-8: a tie in bfloat16
  auto y = this->duo_.MakeTensor(4, 2);
  const std::vector<TokenId> tokens = {2, 0, 1, 2};

  this->duo_.Embed(tokens, this->duo_.MakeEmbedding(SourceOf(values, 2), WeightFormat::kF32), y);
  this->duo_.ExpectLiterally(y, {1.00390625F, 1e-3F, 1, 2, 3, 4, 1.00390625F, 1e-3F}, 0);
  this->duo_.Embed(tokens, this->duo_.MakeEmbedding(SourceOf(values, 2), WeightFormat::kBf16), y);
  this->duo_.ExpectLiterally(y, {1, 0x1.06p-10, 1, 2, 3, 4, 1, 0x1.06p-10}, 0);
  this->duo_.Embed(tokens, this->duo_.MakeEmbedding(SourceOf(values, 2), WeightFormat::kF16), y);
  this->duo_.ExpectLiterally(y, {1.00390625F, 0x1.064p-10, 1, 2, 3, 4, 1.00390625F, 0x1.064p-10},
                             0);
}

TYPED_TEST(Conformance, EmbedIsExactInAllShapes) {
  for (const WeightFormat format : kFormats) {
    for (const std::int64_t columns : {1, 2, 3, 7, 8, 9, 16, 31, 64, 127, 260}) {
      const auto e =
          this->duo_.MakeEmbedding(SourceOf(Uniform(this->random_, 53 * columns), columns), format);
      for (const std::size_t rows : {0U, 1U, 2U, 13U, 40U}) {
        std::vector<TokenId> tokens(rows);
        for (TokenId& token : tokens) token = static_cast<TokenId>(this->random_() % 53);
        auto y = this->duo_.MakeTensor(static_cast<std::int64_t>(rows), columns);

        this->duo_.Embed(tokens, e, y);

        this->duo_.ExpectEqual(y);
      }
    }
  }
}

TYPED_TEST(Conformance, GatherTakesTheRowsAskedFor) {
  const auto x = this->duo_.MakeTensor(std::vector<float>{1, 2, 3, 4, 5, 6}, 2);
  auto two = this->duo_.MakeTensor(2, 2);
  auto none = this->duo_.MakeTensor(0, 2);

  this->duo_.Gather(x, std::vector<std::int32_t>{0, 2}, two);
  this->duo_.Gather(x, {}, none);

  this->duo_.ExpectLiterally(two, {1, 2, 5, 6}, 0);
}

TYPED_TEST(Conformance, GatherIsExactInAllShapes) {
  for (const std::int64_t columns : {1, 5, 16, 17, 131}) {
    const auto x = this->duo_.MakeTensor(Uniform(this->random_, 40 * columns), columns);
    std::vector<std::int32_t> rows;
    for (std::int32_t row = 0; row < 40; ++row)
      if (this->random_() % 3 == 0) rows.push_back(row);
    auto y = this->duo_.MakeTensor(static_cast<std::int64_t>(rows.size()), columns);

    this->duo_.Gather(x, rows, y);

    this->duo_.ExpectEqual(y);
  }
}

// --- Norms --------------------------------------------------------------------------------------

TYPED_TEST(Conformance, LayerNormOfKnownNumbers) {
  // Mean 3, variance 2 (biased), epsilon 2: deviation 2.
  const auto x = this->duo_.MakeTensor(std::vector<float>{1, 2, 3, 4, 5}, 5);
  const auto n = this->duo_.MakeNorm(std::vector<float>{1, 1, 1, 2, 10},
                                     std::vector<float>{0, 0, 7, 0, 1}, 2.0F);
  auto y = this->duo_.MakeTensor(1, 5);

  this->duo_.LayerNorm(x, n, y);

  this->duo_.ExpectLiterally(y, {-1, -0.5, 7, 1, 11}, 1e-6);
}

TYPED_TEST(Conformance, RmsNormOfKnownNumbers) {
  // Mean square (1 + 9 + 25 + 25) / 4 = 15, epsilon 10: root 5.
  const auto x = this->duo_.MakeTensor(std::vector<float>{1, -3, 5, 5}, 4);
  const auto n = this->duo_.MakeNorm(std::vector<float>{1, 1, 2, -1}, {}, 10.0F);
  auto y = this->duo_.MakeTensor(1, 4);

  this->duo_.RmsNorm(x, n, y);

  this->duo_.ExpectLiterally(y, {0.2, -0.6, 2, -1}, 1e-6);
}

TYPED_TEST(Conformance, NormsOfZeroRowsAreTheirBias) {
  const auto x = this->duo_.MakeTensor(std::vector<float>(20), 20);
  const auto n =
      this->duo_.MakeNorm(std::vector<float>(20, 3), std::vector<float>(20, 0.25F), 1e-5F);
  auto y = this->duo_.MakeTensor(1, 20);

  this->duo_.LayerNorm(x, n, y);
  this->duo_.ExpectLiterally(y, std::vector<double>(20, 0.25), 0);
  this->duo_.RmsNorm(x, n, y);
  this->duo_.ExpectLiterally(y, std::vector<double>(20, 0), 0);
}

constexpr std::array<std::int64_t, 22> kNormColumns = {
    1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 15, 16, 17, 31, 33, 67, 127, 128, 257, 509, 1024, 4096};

// The error of one row of LayerNorm before gain: |y error| <= shift + |y| slope. With m and s mean
// and deviation: the mean is off by dm = SumError(n) mean|x|, so x - m by dm; the deviation
// relatively by half of SumError(n) and of (dm / s)^2, and five roundings.
struct LayerNormError {
  double shift;
  double slope;
};

LayerNormError LayerNormErrorOf(std::span<const double> row, double epsilon) {
  const auto width = static_cast<double>(row.size());
  double mean = 0;
  double magnitude = 0;
  for (const double v : row) {
    mean += v / width;
    magnitude += std::abs(v) / width;
  }
  double variance = 0;
  for (const double v : row) variance += (v - mean) * (v - mean) / width;
  const double sum_error = SumError(static_cast<std::int64_t>(row.size()));
  const double shift = sum_error * magnitude / std::sqrt(variance + epsilon);
  return {shift, sum_error / 2 + shift * shift / 2 + 5 * kRoundoff};
}

TYPED_TEST(Conformance, LayerNormInAllShapes) {
  for (const std::int64_t columns : kNormColumns) {
    for (const float offset : {0.0F, 100.0F}) {  // the latter defeats E[x^2] - E[x]^2
      for (const std::int64_t rows : {0, 1, 2, 7, 33}) {
        std::vector<float> values = Uniform(this->random_, rows * columns);
        for (float& value : values) value += offset;
        const std::vector<float> gain = Uniform(this->random_, columns, 2);
        const std::vector<float> bias = Uniform(this->random_, columns);
        const auto x = this->duo_.MakeTensor(values, columns);
        const auto n = this->duo_.MakeNorm(gain, bias, 1e-5F);
        auto y = this->duo_.MakeTensor(rows, columns);

        this->duo_.LayerNorm(x, n, y);

        std::vector<LayerNormError> errors;
        for (std::int64_t t = 0; t < rows; ++t)
          errors.push_back(LayerNormErrorOf(x.expected[t], 1e-5));
        this->duo_.ExpectNear(y, [&](std::size_t i) {
          const auto column = i % static_cast<std::size_t>(columns);
          const LayerNormError error = errors[i / static_cast<std::size_t>(columns)];
          const double scaled = std::abs(y.expected.values()[i] - bias[column]);
          return std::abs(gain[column]) * error.shift + scaled * error.slope +
                 kRoundoff * (std::abs(bias[column]) + scaled);
        });
      }
    }
  }
}

// The root of the mean square is off by half of SumError(n); four roundings follow.
TYPED_TEST(Conformance, RmsNormInAllShapes) {
  for (const std::int64_t columns : kNormColumns) {
    for (const std::int64_t rows : {0, 1, 2, 7, 33}) {
      const auto x = this->duo_.MakeTensor(Uniform(this->random_, rows * columns, 3), columns);
      const auto n = this->duo_.MakeNorm(Uniform(this->random_, columns), {}, 1e-6F);
      auto y = this->duo_.MakeTensor(rows, columns);

      this->duo_.RmsNorm(x, n, y);

      this->duo_.ExpectNear(y, [&](std::size_t i) {
        return std::abs(y.expected.values()[i]) * (SumError(columns) / 2 + 5 * kRoundoff);
      });
    }
  }
}

// --- Linear -------------------------------------------------------------------------------------

TYPED_TEST(Conformance, LinearOfKnownNumbers) {
  const auto x = this->duo_.MakeTensor(
      std::vector<float>{1, 2, 3, 0, 0, 0, 0, 9, 4, 5, 6, 0, 0, 0, 0, 9}, 8, Holds::kFactors);
  const auto w =
      this->duo_.MakeWeight(SourceOf({1, 0, -1, 7, 7, 7, 7, 0, 2, 2, 2, 7, 7, 7, 7, 0}, 8),
                            std::vector<float>{10, 20}, WeightFormat::kBf16);
  auto y = this->duo_.MakeTensor(2, 2);

  this->duo_.Linear(x, w, Then::kStore, y);
  this->duo_.ExpectLiterally(y, {8, 32, 8, 50}, 0);
  this->duo_.Linear(x, w, Then::kAdd, y);
  this->duo_.ExpectLiterally(y, {16, 64, 16, 100}, 0);
}

TYPED_TEST(Conformance, GeluOfKnownNumbers) {
  // A column, and what fills rows of 8 up.
  const auto column = [&](const std::vector<float>& values) {
    std::vector<float> rows(values.size() * 8);
    for (std::size_t i = 0; i < values.size(); ++i) rows[i * 8] = values[i];
    return this->duo_.MakeTensor(rows, 8, Holds::kFactors);
  };
  const auto x = column({1, -1, 3, -3, 0.5F, 0, 100, -100});
  const auto w =
      this->duo_.MakeWeight(SourceOf({1, 0, 0, 0, 0, 0, 0, 0}, 8), {}, WeightFormat::kF32);
  auto y = this->duo_.MakeTensor(8, 1);

  this->duo_.Linear(x, w, Then::kGelu, y);

  this->duo_.ExpectLiterally(
      y, {.841191991, -.158808009, 2.996362608, -.003637392, .345714010, 0, 100, 0}, 3e-7);
}

struct LinearCase {
  std::int64_t rows;
  std::int64_t inputs;
  std::int64_t outputs;
  WeightFormat format;
  Then then;
  bool biased;
};

// A sum of `inputs` products, the bias and perhaps y. GELU multiplies the error by its slope, 1.13
// at most, and adds some roundings of v: half of 1 + tanh, which is off by 4 u or so.
template <class Subject>
void CheckLinear(Duo<Subject>& duo, std::mt19937& random, LinearCase c) {
  c.inputs = (c.inputs + Subject::kInputs - 1) / Subject::kInputs * Subject::kInputs;
  SCOPED_TRACE(::testing::Message()
               << "[" << c.rows << ", " << c.inputs << "] x [" << c.outputs << ", " << c.inputs
               << "] " << WeightFormatName(c.format) << " then " << static_cast<int>(c.then)
               << (c.biased ? " biased" : ""));
  const auto x = duo.MakeTensor(Uniform(random, c.rows * c.inputs), c.inputs, Holds::kFactors);
  const auto w = duo.MakeWeight(SourceOf(Uniform(random, c.outputs * c.inputs), c.inputs),
                                Uniform(random, c.biased ? c.outputs : 0), c.format);
  const std::vector<float> before = Uniform(random, c.rows * c.outputs);
  auto y = duo.MakeTensor(before, c.outputs);

  duo.Linear(x, w, c.then, y);

  duo.ExpectNear(y, [&](std::size_t i) {
    const auto columns = static_cast<std::size_t>(c.outputs);
    const auto row = x.expected[static_cast<std::int64_t>(i / columns)];
    const auto weights = w.expected.matrix[static_cast<std::int64_t>(i % columns)];
    double magnitude = std::abs(w.expected.bias[i % columns]) + std::abs(before[i]);
    for (std::size_t k = 0; k < row.size(); ++k) magnitude += std::abs(row[k] * weights[k]);
    const double error = magnitude * SumError(c.inputs + 2);
    return c.then == Then::kGelu ? 1.13 * error + 8 * kRoundoff * magnitude : error;
  });
}

TYPED_TEST(Conformance, LinearInAllSmallShapes) {
  for (std::int64_t rows = 1; rows <= 9; ++rows) {
    for (std::int64_t inputs = 1; inputs <= 9; ++inputs) {
      for (std::int64_t outputs = 1; outputs <= 9; ++outputs) {
        for (const WeightFormat format : kFormats) {
          ASSERT_NO_FATAL_FAILURE(CheckLinear(
              this->duo_, this->random_, {rows, inputs, outputs, format, Then::kStore, false}));
        }
      }
    }
  }
}

TYPED_TEST(Conformance, LinearInPrimeShapes) {
  constexpr std::array<std::int64_t, 6> kPrimes = {2, 13, 17, 31, 67, 127};
  for (const std::int64_t rows : {1, 3, 11, 29, 61}) {
    for (const std::int64_t inputs : kPrimes) {
      for (const std::int64_t outputs : kPrimes) {
        const WeightFormat format = kFormats[this->random_() % 3];
        for (const Then then : {Then::kStore, Then::kAdd, Then::kGelu}) {
          ASSERT_NO_FATAL_FAILURE(CheckLinear(
              this->duo_, this->random_, {rows, inputs, outputs, format, then, outputs % 4 == 1}));
        }
      }
    }
  }
}

TYPED_TEST(Conformance, LinearInRandomShapes) {
  for (int i = 0; i < 100; ++i) {
    const auto upto = [&](unsigned limit) {
      return static_cast<std::int64_t>(1 + this->random_() % limit);
    };
    const Then then = std::array{Then::kStore, Then::kAdd, Then::kGelu}[this->random_() % 3];
    ASSERT_NO_FATAL_FAILURE(CheckLinear(
        this->duo_, this->random_,
        {upto(40), upto(300), upto(200), kFormats[this->random_() % 3], then, upto(2) == 1}));
  }
}

// Shapes of real models: long inner products, and as many rows as a chunk of a prompt has.
TYPED_TEST(Conformance, LinearInLargeShapes) {
  for (const WeightFormat format : kFormats) {
    ASSERT_NO_FATAL_FAILURE(
        CheckLinear(this->duo_, this->random_, {1, 4096, 100, format, Then::kGelu, true}));
    ASSERT_NO_FATAL_FAILURE(
        CheckLinear(this->duo_, this->random_, {5, 1024, 130, format, Then::kStore, true}));
    ASSERT_NO_FATAL_FAILURE(
        CheckLinear(this->duo_, this->random_, {241, 33, 35, format, Then::kAdd, true}));
    ASSERT_NO_FATAL_FAILURE(
        CheckLinear(this->duo_, this->random_, {523, 16, 48, format, Then::kStore, false}));
  }
}

TYPED_TEST(Conformance, LinearOfNoRowsDoesNothing) {
  CheckLinear(this->duo_, this->random_, {0, 8, 8, WeightFormat::kF32, Then::kStore, true});
}

// Largest, smallest and subnormal weights of each format come through exactly.
TYPED_TEST(Conformance, LinearReadsTheWholeRangeOfItsFormat) {
  const std::vector<float> weights = {65504.0F, 0x1p-24F, -0x1.ff8p-15F, 0x1p-14F, 1.0F, -0.0F};
  const auto x = this->duo_.MakeTensor(std::vector<float>{1, 0, 0, 0, 0, 0, 0, 0}, 8);
  std::vector<float> matrix(weights.size() * 8);
  for (std::size_t i = 0; i < weights.size(); ++i) matrix[i * 8] = weights[i];
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16}) {
    const auto w = this->duo_.MakeWeight(SourceOf(matrix, 8), {}, format);
    auto y = this->duo_.MakeTensor(1, 6);

    this->duo_.Linear(x, w, Then::kStore, y);

    this->duo_.ExpectLiterally(y, std::vector<double>(weights.begin(), weights.end()), 0);
  }
}

TYPED_TEST(Conformance, LinearOfARowDoesNotDependOnItsNeighbours) {
  for (const WeightFormat format : kFormats) {
    const auto w = this->duo_.MakeWeight(SourceOf(Uniform(this->random_, 83 * 72), 72),
                                         Uniform(this->random_, 83), format);
    std::vector<float> values = Uniform(this->random_, 37 * 72);
    std::fill_n(values.begin() + 12 * 72, 72, kNan);
    const auto x = this->duo_.MakeTensor(values, 72, Holds::kFactors);
    auto y = this->duo_.MakeTensor(37, 83);
    this->duo_.Linear(x, w, Then::kGelu, y);
    const std::vector<float> together = this->duo_.Result(y);

    for (std::int64_t t = 0; t < 37; ++t) {
      if (t == 12) continue;
      const auto row = std::span(values).subspan(static_cast<std::size_t>(t) * 72, 72);
      const auto alone = this->duo_.MakeTensor(row, 72, Holds::kFactors);
      auto result = this->duo_.MakeTensor(1, 83);
      this->duo_.Linear(alone, w, Then::kGelu, result);

      ASSERT_NO_FATAL_FAILURE(
          ExpectSameRow<TypeParam>(this->duo_.Row(together, y, t), this->duo_.Result(result)));
    }
  }
}

// --- Elementwise --------------------------------------------------------------------------------

TYPED_TEST(Conformance, SwiGluOfKnownNumbers) {
  const auto x = this->duo_.MakeTensor(std::vector<float>{0, 1, -1, 5, 2, 3}, 6);
  auto y = this->duo_.MakeTensor(1, 3);

  this->duo_.SwiGlu(x, y);

  this->duo_.ExpectLiterally(y, {0, 1.462117157, -0.806824264}, 5e-7);
}

// An exponential to 4 u, a sum, a quotient and two products. What underflows may become zero.
TYPED_TEST(Conformance, SwiGluInAllShapes) {
  for (const float magnitude : {1.0F, 20.0F, 300.0F}) {
    for (const std::int64_t columns : {1, 2, 3, 5, 8, 11, 16, 17, 64, 131, 300}) {
      for (const std::int64_t rows : {0, 1, 3, 29}) {
        const auto x = this->duo_.MakeTensor(Uniform(this->random_, rows * 2 * columns, magnitude),
                                             2 * columns);
        auto y = this->duo_.MakeTensor(rows, columns);

        this->duo_.SwiGlu(x, y);

        this->duo_.ExpectNear(y, [&](std::size_t i) {
          return std::abs(y.expected.values()[i]) * 8 * kRoundoff + 1e-33;
        });
      }
    }
  }
}

// One rounding: the double sum of two floats rounds to the same float.
TYPED_TEST(Conformance, AddInAllShapes) {
  for (const std::int64_t columns : {1, 2, 3, 7, 16, 17, 64, 131}) {
    for (const std::int64_t rows : {0, 1, 2, 31}) {
      const auto x = this->duo_.MakeTensor(Uniform(this->random_, rows * columns), columns);
      auto y = this->duo_.MakeTensor(Uniform(this->random_, rows * columns, 100), columns);

      this->duo_.Add(x, y);

      this->duo_.ExpectNear(y, [&](std::size_t i) {
        const double sum = y.expected.values()[i];
        return std::abs(sum - double{static_cast<float>(sum)});
      });
    }
  }
}

TYPED_TEST(Conformance, AllReduceOfOneRankChangesNothing) {
  auto y = this->duo_.MakeTensor(Uniform(this->random_, 5 * 19), 19);

  this->duo_.AllReduce(y);

  this->duo_.ExpectEqual(y);
}

TYPED_TEST(Conformance, AllGatherOfOneRankIsWhatItHas) {
  const auto x = this->duo_.MakeTensor(Uniform(this->random_, 5 * 19), 19);
  auto y = this->duo_.MakeTensor(std::vector<float>(5 * 19, 0.0F), 19);

  EXPECT_EQ(&this->duo_.subject().backend.AllGather(x.tested, y.tested), &x.tested);
}

// --- Sample -------------------------------------------------------------------------------------

TYPED_TEST(Conformance, SampleOfEachRowIsSampleRow) {
  constexpr std::int64_t kWidth = 103;
  std::vector<float> logits = Uniform(this->random_, 40 * kWidth, 5);
  std::fill_n(logits.begin() + 7 * kWidth, kWidth, kNan);
  const auto x = this->duo_.MakeTensor(logits, kWidth);
  std::vector<backend::Sampling> sampling;
  std::vector<backend::LogitChange> changes;
  for (TokenId id = 0; id < 97; id += 5)
    changes.push_back({id, id % 2 == 0 ? 1.5F : 0.25F, static_cast<float>(id % 7) - 3});
  for (std::int32_t i = 0; i < 40; ++i)
    sampling.push_back(
        {.temperature = std::array{0.0F, 0.5F, 1.5F}[this->random_() % 3],
         .top_k = std::array{0, 1, 20}[this->random_() % 3],
         .top_p = std::array{1.0F, 0.6F}[this->random_() % 2],
         .min_p = std::array{0.0F, 0.1F}[this->random_() % 2],
         .seed = this->random_(),
         .position = i,
         .vocabulary = std::array{103, 97}[this->random_() % 2],
         .logprob = i % 4 != 0,
         .given = i % 5 == 2 ? 2 * i : -1,
         .changes = std::span(changes).subspan(static_cast<std::size_t>(i) % 3 * 10)});
  std::vector<backend::SampledToken> tokens(40);

  this->duo_.subject().backend.Sample(x.tested, sampling, tokens);

  for (std::size_t i = 0; i < 40; ++i) {
    const auto expected = SampleRow(std::span(logits).subspan(i * kWidth, kWidth), sampling[i]);
    EXPECT_EQ(tokens[i].id, expected.id) << "row " << i;
    EXPECT_NEAR(tokens[i].logprob, expected.logprob, 1e-5) << "row " << i;
  }
  EXPECT_EQ(tokens[7].id, -1);
  std::vector<float> after(logits.size());
  ASSERT_THAT(backend::Download(this->duo_.subject().device, x.tested, after), IsOk());
  after.erase(after.begin() + 7 * kWidth, after.begin() + 8 * kWidth);
  logits.erase(logits.begin() + 7 * kWidth, logits.begin() + 8 * kWidth);
  EXPECT_EQ(after, logits);  // Changes are of the drawing, not of what it is drawn from.
}

TYPED_TEST(Conformance, SampleOfARowDoesNotDependOnItsNeighbours) {
  const std::vector<float> row = Uniform(this->random_, 50);
  const backend::Sampling sampling{
      .temperature = 1, .seed = 3, .position = 9, .vocabulary = 50, .logprob = true};
  backend::SampledToken alone;
  const auto one = this->duo_.MakeTensor(row, 50);
  this->duo_.subject().backend.Sample(one.tested, {&sampling, 1}, {&alone, 1});

  for (std::size_t at = 0; at < 5; ++at) {
    std::vector<float> logits = Uniform(this->random_, 5 * 50, 10);
    std::ranges::copy(row, logits.begin() + static_cast<std::ptrdiff_t>(at) * 50);
    std::vector<backend::Sampling> all(5, {.temperature = 2, .top_k = 3, .vocabulary = 40});
    all[at] = sampling;
    std::vector<backend::SampledToken> tokens(5);
    const auto x = this->duo_.MakeTensor(logits, 50);
    this->duo_.subject().backend.Sample(x.tested, all, tokens);

    EXPECT_EQ(tokens[at].id, alone.id);
    EXPECT_EQ(tokens[at].logprob, alone.logprob);
  }
}

}  // namespace
}  // namespace codegen::testing
