// SPDX-License-Identifier: Apache-2.0
//
// Rounding by the inputs of a matrix beside the algorithm as the paper writes it: with the inverse
// of H, one column after the other, in float64.
#include "quant/gptq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "support/status_is.h"

namespace codegen::quant {
namespace {

using testing::StatusIs;

struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> elements = std::vector<double>(static_cast<std::size_t>(rows * columns));

  double& at(std::int64_t i, std::int64_t j) {
    return elements[static_cast<std::size_t>(i * columns + j)];
  }
  double at(std::int64_t i, std::int64_t j) const {
    return elements[static_cast<std::size_t>(i * columns + j)];
  }
  std::vector<float> Floats() const { return {elements.begin(), elements.end()}; }
};

Matrix Normal(std::int64_t rows, std::int64_t columns, std::mt19937& random) {
  Matrix matrix{rows, columns};
  for (double& element : matrix.elements)
    element = static_cast<double>(std::normal_distribution<float>()(random));
  return matrix;
}

// Rows made of a few common directions and noise, as activations are.
Matrix Correlated(std::int64_t rows, std::int64_t columns, std::mt19937& random) {
  constexpr std::int64_t kDirections = 6;
  const Matrix shares = Normal(rows, kDirections, random);
  const Matrix directions = Normal(kDirections, columns, random);
  Matrix x = Normal(rows, columns, random);
  for (std::int64_t t = 0; t < rows; ++t) {
    for (std::int64_t i = 0; i < columns; ++i) {
      double sum = 0.3 * x.at(t, i);
      for (std::int64_t k = 0; k < kDirections; ++k) sum += shares.at(t, k) * directions.at(k, i);
      x.at(t, i) = static_cast<double>(static_cast<float>(sum));
    }
  }
  return x;
}

Matrix HessianOf(const Matrix& x) {
  Matrix h{x.columns, x.columns};
  for (std::int64_t t = 0; t < x.rows; ++t)
    for (std::int64_t i = 0; i < x.columns; ++i)
      for (std::int64_t j = 0; j < x.columns; ++j) h.at(i, j) += x.at(t, i) * x.at(t, j);
  return h;
}

Matrix Damped(Matrix h) {
  double trace = 0;
  for (std::int64_t i = 0; i < h.rows; ++i) trace += h.at(i, i);
  for (std::int64_t i = 0; i < h.rows; ++i)
    h.at(i, i) += 0.01 * trace / static_cast<double>(h.rows);
  return h;
}

// By Gauss and Jordan. Requires: positive definite.
Matrix Inverse(Matrix m) {
  Matrix inverse{m.rows, m.rows};
  for (std::int64_t i = 0; i < m.rows; ++i) inverse.at(i, i) = 1;
  for (std::int64_t k = 0; k < m.rows; ++k) {
    const double pivot = m.at(k, k);
    for (std::int64_t j = 0; j < m.rows; ++j) {
      m.at(k, j) /= pivot;
      inverse.at(k, j) /= pivot;
    }
    for (std::int64_t i = 0; i < m.rows; ++i) {
      const double factor = m.at(i, k);
      if (i == k || factor == 0) continue;
      for (std::int64_t j = 0; j < m.rows; ++j) {
        m.at(i, j) -= factor * m.at(k, j);
        inverse.at(i, j) -= factor * inverse.at(k, j);
      }
    }
  }
  return inverse;
}

// The upper triangular U with UT U = m.
Matrix UpperCholesky(const Matrix& m) {
  Matrix u{m.rows, m.rows};
  for (std::int64_t i = 0; i < m.rows; ++i) {
    for (std::int64_t j = i; j < m.rows; ++j) {
      double sum = m.at(i, j);
      for (std::int64_t k = 0; k < i; ++k) sum -= u.at(k, i) * u.at(k, j);
      u.at(i, j) = j == i ? std::sqrt(sum) : sum / u.at(i, i);
    }
  }
  return u;
}

struct RoundedMatrix {
  std::vector<std::uint8_t> codes;
  std::vector<Int4Scale> scales;

  double Value(std::int64_t row, std::int64_t column, std::int64_t inputs) const {
    const std::int64_t group = row * Int4Groups(inputs) + column / kInt4Group;
    return double{Int4Grid(scales[static_cast<std::size_t>(group)])
                      .Value(codes[static_cast<std::size_t>(row * inputs + column)])};
  }
};

RoundedMatrix RoomFor(const Matrix& w) {
  return {std::vector<std::uint8_t>(w.elements.size()),
          std::vector<Int4Scale>(static_cast<std::size_t>(w.rows * Int4Groups(w.columns)))};
}

// The scale of the group that begins at `first`, from what the row has become by then.
Int4Scale ScaleOf(const Matrix& w, std::int64_t row, std::int64_t first) {
  std::vector<float> group;
  for (std::int64_t j = first; j < std::min(first + kInt4Group, w.columns); ++j)
    group.push_back(static_cast<float>(w.at(row, j)));
  std::vector<std::uint8_t> ignored(group.size());
  return QuantizeInt4(group, ignored);
}

RoundedMatrix PaperRound(Matrix w, const Matrix& h) {
  const Matrix u = UpperCholesky(Inverse(Damped(h)));
  RoundedMatrix rounded = RoomFor(w);
  for (std::int64_t row = 0; row < w.rows; ++row) {
    Int4Scale scale;
    for (std::int64_t j = 0; j < w.columns; ++j) {
      if (j % kInt4Group == 0) {
        scale = ScaleOf(w, row, j);
        rounded.scales[static_cast<std::size_t>(row * Int4Groups(w.columns) + j / kInt4Group)] =
            scale;
      }
      const Int4Grid grid(scale);
      const std::uint8_t code = grid.Code(static_cast<float>(w.at(row, j)));
      rounded.codes[static_cast<std::size_t>(row * w.columns + j)] = code;
      const double error = (w.at(row, j) - grid.Value(code)) / u.at(j, j);
      for (std::int64_t i = j; i < w.columns; ++i) w.at(row, i) -= error * u.at(j, i);
    }
  }
  return rounded;
}

RoundedMatrix RoundEach(const Matrix& w) {
  RoundedMatrix rounded = RoomFor(w);
  const std::vector<float> floats = w.Floats();
  for (std::int64_t i = 0; i < std::ssize(rounded.scales); ++i) {
    const std::int64_t groups = Int4Groups(w.columns);
    const std::int64_t first = i % groups * kInt4Group;
    const auto begin = static_cast<std::size_t>(i / groups * w.columns + first);
    const auto count = static_cast<std::size_t>(std::min(kInt4Group, w.columns - first));
    rounded.scales[static_cast<std::size_t>(i)] = QuantizeInt4(
        std::span(floats).subspan(begin, count), std::span(rounded.codes).subspan(begin, count));
  }
  return rounded;
}

absl::StatusOr<Gptq> GptqOf(const Matrix& x, int threads) {
  auto pool = base::ThreadPool::Create(threads);
  auto hessian = Hessian::Make(x.columns);
  hessian->Add(x.Floats(), **pool);
  return Gptq::Create(*std::move(hessian), **pool);
}

RoundedMatrix GptqRound(const Matrix& w, const Matrix& x, int threads = 2) {
  const auto gptq = GptqOf(x, threads);
  RoundedMatrix rounded = RoomFor(w);
  gptq->Round(w.Floats(), rounded.codes, rounded.scales);
  return rounded;
}

void ExpectSame(const RoundedMatrix& a, const RoundedMatrix& b) {
  EXPECT_EQ(a.codes, b.codes);
  ASSERT_EQ(a.scales.size(), b.scales.size());
  for (std::size_t i = 0; i < a.scales.size(); ++i) {
    EXPECT_EQ(a.scales[i].scale, b.scales[i].scale) << i;
    EXPECT_EQ(a.scales[i].minimum, b.scales[i].minimum) << i;
  }
}

// Of the outputs, squared and summed over inputs with this H.
double OutputError(const Matrix& w, const RoundedMatrix& rounded, const Matrix& h) {
  double sum = 0;
  for (std::int64_t row = 0; row < w.rows; ++row) {
    const auto error = [&](std::int64_t j) {
      return w.at(row, j) - rounded.Value(row, j, w.columns);
    };
    for (std::int64_t i = 0; i < w.columns; ++i)
      for (std::int64_t j = 0; j < w.columns; ++j) sum += error(i) * h.at(i, j) * error(j);
  }
  return sum;
}

// Sums of the two differ by 1e-15 of a weight; that one lies as close to the border between two
// codes is no matter for these seeds.
TEST(Gptq, RoundsAsThePaperDoes) {
  std::mt19937 random(1);
  for (const std::int64_t inputs : {1, 2, 3, 5, 8, 16, 100, 127, 128, 129, 200, 256, 300, 401}) {
    const Matrix x = Correlated(inputs + 20, inputs, random);
    const Matrix w = Normal(5, inputs, random);

    const RoundedMatrix rounded = GptqRound(w, x);

    ExpectSame(rounded, PaperRound(w, HessianOf(x)));
  }
}

TEST(Gptq, LeavesLessErrorThanRoundingEachWeight) {
  std::mt19937 random(2);
  for (const std::int64_t inputs : {32, 128, 300}) {
    const Matrix x = Correlated(3 * inputs, inputs, random);
    const Matrix h = HessianOf(x);
    const Matrix w = Normal(8, inputs, random);

    const double share = OutputError(w, GptqRound(w, x), h) / OutputError(w, RoundEach(w), h);

    EXPECT_LT(share, 0.35) << inputs;
  }
}

TEST(Gptq, RoundsEachWeightWhereInputsAreUnrelated) {
  std::mt19937 random(3);
  Matrix x{300, 300};
  for (std::int64_t i = 0; i < x.rows; ++i) x.at(i, i) = 1;
  const Matrix w = Normal(4, x.columns, random);

  ExpectSame(GptqRound(w, x), RoundEach(w));
}

TEST(Gptq, RoundsEachWeightWhereAllInputsAreZero) {
  std::mt19937 random(4);
  const Matrix w = Normal(4, 150, random);

  ExpectSame(GptqRound(w, Matrix{10, 150}), RoundEach(w));
}

// An input that is never there neither causes an error nor makes good for one.
TEST(Gptq, LeavesInputsThatAreAlwaysZeroToThemselves) {
  std::mt19937 random(5);
  Matrix x = Correlated(300, 128, random);
  for (std::int64_t t = 0; t < x.rows; ++t) x.at(t, 60) = x.at(t, 127) = 0;
  const Matrix w = Normal(4, x.columns, random);

  const RoundedMatrix rounded = GptqRound(w, x);

  const RoundedMatrix each = RoundEach(w);
  for (std::int64_t row = 0; row < w.rows; ++row) {
    for (const std::int64_t column : {60, 127})
      EXPECT_EQ(rounded.Value(row, column, 128), each.Value(row, column, 128));
  }
  EXPECT_NE(rounded.codes, each.codes);
}

TEST(Gptq, IsTheSameOnAnyNumberOfThreads) {
  std::mt19937 random(6);
  const Matrix x = Correlated(100, 700, random);
  const Matrix w = Normal(6, x.columns, random);
  const RoundedMatrix alone = GptqRound(w, x, 1);

  for (const int threads : {2, 3, 8}) ExpectSame(GptqRound(w, x, threads), alone);
}

TEST(Gptq, SumsInputsOfSeveralCalls) {
  std::mt19937 random(7);
  const Matrix x = Correlated(90, 200, random);
  const Matrix w = Normal(3, x.columns, random);
  auto pool = base::ThreadPool::Create(2);
  auto hessian = Hessian::Make(x.columns);
  const std::vector<float> floats = x.Floats();
  for (const auto& [first, count] : {std::pair(0, 50), {50, 1}, {51, 39}})
    hessian->Add(std::span(floats).subspan(static_cast<std::size_t>(first * x.columns),
                                           static_cast<std::size_t>(count * x.columns)),
                 **pool);
  const auto gptq = Gptq::Create(*std::move(hessian), **pool);
  RoundedMatrix rounded = RoomFor(w);

  gptq->Round(w.Floats(), rounded.codes, rounded.scales);

  ExpectSame(rounded, PaperRound(w, HessianOf(x)));
}

TEST(Gptq, RoundsARowByItselfAsAmongOthers) {
  std::mt19937 random(8);
  const Matrix x = Correlated(100, 200, random);
  const Matrix w = Normal(16, x.columns, random);
  const RoundedMatrix together = GptqRound(w, x);
  const auto gptq = GptqOf(x, 1);
  const std::vector<float> floats = w.Floats();

  RoundedMatrix alone = RoomFor(w);
  for (std::size_t row = 0; row < 16; ++row)
    gptq->Round(std::span(floats).subspan(row * 200, 200),
                std::span(alone.codes).subspan(row * 200, 200),
                std::span(alone.scales).subspan(row * 2, 2));

  ExpectSame(alone, together);
}

// What cannot be held spoils its group and no other.
TEST(Gptq, KeepsWeightsThatAreNotFiniteToTheirGroup) {
  std::mt19937 random(9);
  const Matrix x = Correlated(300, 384, random);
  Matrix w = Normal(3, x.columns, random);
  w.at(0, 130) = std::numeric_limits<double>::quiet_NaN();
  w.at(1, 131) = std::numeric_limits<double>::infinity();
  w.at(2, 132) = 1e30;

  const RoundedMatrix rounded = GptqRound(w, x);

  for (std::int64_t row = 0; row < w.rows; ++row) {
    for (std::int64_t group = 0; group < 3; ++group) {
      const auto scale = rounded.scales[static_cast<std::size_t>(row * 3 + group)];
      EXPECT_EQ(Int4Grid(scale).IsFinite(), group != 1) << row << " " << group;
    }
  }
}

TEST(Gptq, RefusesInputsThatAreNotFinite) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e30}) {
    Matrix x{4, 20};
    x.at(2, 7) = bad;

    EXPECT_THAT(GptqOf(x, 1), StatusIs(absl::StatusCode::kDataLoss, "not finite"));
  }
}

}  // namespace
}  // namespace codegen::quant
