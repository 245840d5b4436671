// SPDX-License-Identifier: Apache-2.0
//
// The factorisation works on tiles of kTile x kTile, so that all threads have work and every
// element is summed in one order however many they are: from the last tile column to the first,
//
//   R[k,k] R[k,k]T = H[k,k]      R[i,k] = H[i,k] R[k,k]^-T      H[i,j] -= R[i,k] R[j,k]T
//
// for tiles i <= j < k. It fills the upper triangle; the lower one and a copy of the diagonal keep
// H for another try with more damping.
#include "quant/gptq.h"

#define EIGEN_MPL2_ONLY
#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace codegen::quant {
namespace {

using Columns = Eigen::MatrixXd;
using Square = Eigen::Map<Eigen::MatrixXd>;
using ConstSquare = Eigen::Map<const Eigen::MatrixXd>;
template <class Number>
using RowMajor = Eigen::Matrix<Number, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<const RowMajor<float>>;
using Codes = Eigen::Map<RowMajor<std::uint8_t>>;

constexpr std::int64_t kTile = kInt4Group;
constexpr double kDamping = 0.01;  // of the mean diagonal
constexpr int kTries = 4;          // each with ten times the damping

// Calls work(i, j) for all tiles i <= j < tiles.
template <class Work>
void ForEachTile(base::ThreadPool& pool, std::int64_t tiles, const Work& work) {
  pool.ParallelFor(tiles * (tiles + 1) / 2, [&](std::int64_t task) {
    auto j = static_cast<std::int64_t>(std::sqrt(2.0 * static_cast<double>(task)));
    while (j * (j + 1) / 2 > task) --j;
    while ((j + 1) * (j + 2) / 2 <= task) ++j;
    work(task - j * (j + 1) / 2, j);
  });
}

class Factorisation {
 public:
  Factorisation(Square h, base::ThreadPool& pool) : h_(h), diagonal_(h.diagonal()), pool_(pool) {}

  double MeanDiagonal() const { return diagonal_.mean(); }

  // The upper triangle becomes R of H + damping I. False if that is not positive definite.
  bool Factorise(double damping) {
    Restore(damping);
    for (std::int64_t k = Tiles() - 1; k >= 0; --k) {
      if (!FactoriseDiagonal(k)) return false;
      pool_.ParallelFor(k, [&](std::int64_t i) { Solve(i, k); });
      ForEachTile(pool_, k, [&](std::int64_t i, std::int64_t j) { Subtract(i, j, k); });
    }
    return true;
  }

  // The upper triangle becomes A.
  void DivideByDiagonal() {
    pool_.ParallelFor(h_.cols(), [&](std::int64_t j) { h_.col(j).head(j) /= h_(j, j); });
  }

 private:
  std::int64_t Tiles() const { return (h_.rows() + kTile - 1) / kTile; }
  std::int64_t Size(std::int64_t i) const { return std::min(kTile, h_.rows() - i * kTile); }
  Eigen::Block<Square> Tile(std::int64_t i, std::int64_t j) {
    return h_.block(i * kTile, j * kTile, Size(i), Size(j));
  }

  void Restore(double damping) {
    ForEachTile(pool_, Tiles(), [&](std::int64_t i, std::int64_t j) {
      if (i != j) {
        Tile(i, j) = Tile(j, i).transpose();
      } else {
        Tile(i, i).triangularView<Eigen::StrictlyUpper>() = Tile(i, i).transpose().eval();
      }
    });
    h_.diagonal() = diagonal_.array() + damping;
  }

  // A lower factor of the tile read backwards is an upper one read forwards.
  bool FactoriseDiagonal(std::int64_t k) {
    const Columns whole(Tile(k, k).selfadjointView<Eigen::Upper>());
    const Eigen::LLT<Columns> backwards(whole.reverse());
    const Columns lower(backwards.matrixL());
    Tile(k, k).triangularView<Eigen::Upper>() = lower.reverse();
    return backwards.info() == Eigen::Success && lower.allFinite();
  }

  void Solve(std::int64_t i, std::int64_t k) {
    auto tile = Tile(i, k);
    Tile(k, k).triangularView<Eigen::Upper>().transpose().solveInPlace<Eigen::OnTheRight>(tile);
  }

  void Subtract(std::int64_t i, std::int64_t j, std::int64_t k) {
    if (i != j) {
      Tile(i, j).noalias() -= Tile(i, k) * Tile(j, k).transpose();
    } else {
      Tile(i, i).selfadjointView<Eigen::Upper>().rankUpdate(Tile(i, k), -1.0);
    }
  }

  Square h_;
  Eigen::VectorXd diagonal_;  // of H without damping
  base::ThreadPool& pool_;
};

// A few rows on their way from the first group to the last.
class Rounding {
 public:
  // rows [rows, inputs], codes [rows, inputs], scales [rows, groups].
  Rounding(ConstSquare a, Rows rows, Codes codes, std::span<Int4Scale> scales)
      : a_(a), rows_(rows), codes_(codes), scales_(scales), errors_(rows.rows(), rows.cols()) {}

  void RoundGroup(std::int64_t group) {
    const std::int64_t first = group * kInt4Group;
    const std::int64_t count = std::min(kInt4Group, rows_.cols() - first);
    const Columns original = rows_.middleCols(first, count).cast<double>();
    Columns change = errors_.leftCols(first) * a_.block(0, first, first, count);
    Columns wanted = original + change;
    a_.block(first, first, count, count)
        .triangularView<Eigen::UnitUpper>()
        .solveInPlace<Eigen::OnTheRight>(change);
    FitScales(group, original + change);
    for (std::int64_t i = 0; i < count; ++i) {
      wanted.col(i).noalias() += errors_.middleCols(first, i) * a_.col(first + i).segment(first, i);
      RoundColumn(first + i, wanted.col(i));
    }
  }

 private:
  Int4Scale& Scale(std::int64_t row, std::int64_t group) {
    return scales_[static_cast<std::size_t>(row * Int4Groups(rows_.cols()) + group)];
  }

  // To what the weights of a group would become if none of them were rounded.
  void FitScales(std::int64_t group, const Columns& weights) {
    const auto size = static_cast<std::size_t>(weights.cols());
    for (std::int64_t row = 0; row < rows_.rows(); ++row) {
      const Eigen::VectorXf floats = weights.row(row).cast<float>();
      Scale(row, group) =
          QuantizeInt4({floats.data(), size}, {&codes_(row, group * kInt4Group), size});
    }
  }

  void RoundColumn(std::int64_t column, const Eigen::Ref<const Eigen::VectorXd>& wanted) {
    for (std::int64_t row = 0; row < rows_.rows(); ++row) {
      const Int4Grid grid(Scale(row, column / kInt4Group));
      errors_(row, column) = 0;
      if (!grid.IsFinite()) continue;
      std::uint8_t& code = codes_(row, column);
      code = grid.Code(static_cast<float>(wanted(row)));
      errors_(row, column) = double{rows_(row, column)} - grid.Value(code);
    }
  }

  ConstSquare a_;
  Rows rows_;
  Codes codes_;
  std::span<Int4Scale> scales_;
  Columns errors_;  // w - q
};

}  // namespace

absl::StatusOr<Hessian> Hessian::Make(std::int64_t inputs) {
  CODEGEN_DCHECK(inputs > 0 && inputs < std::int64_t{1} << 30);
  Hessian hessian;
  hessian.inputs_ = inputs;
  CODEGEN_ASSIGN_OR_RETURN(
      hessian.elements_, base::AlignedBuffer::Make(inputs * inputs * std::int64_t{sizeof(double)}));
  return hessian;
}

void Hessian::Add(std::span<const float> x, base::ThreadPool& pool) {
  CODEGEN_DCHECK(std::ssize(x) % inputs_ == 0);
  const Rows rows(x.data(), std::ssize(x) / inputs_, inputs_);
  Square h(elements_.as<double>().data(), inputs_, inputs_);
  ForEachTile(pool, (inputs_ + kTile - 1) / kTile, [&](std::int64_t i, std::int64_t j) {
    const auto at = [&](std::int64_t tile) {
      return rows.middleCols(tile * kTile, std::min(kTile, inputs_ - tile * kTile));
    };
    const Eigen::MatrixXf sum = at(j).transpose() * at(i);
    h.block(j * kTile, i * kTile, sum.rows(), sum.cols()) += sum.cast<double>();
  });
}

absl::StatusOr<Gptq> Gptq::Create(Hessian hessian, base::ThreadPool& pool) {
  Factorisation factorisation(
      Square(hessian.elements_.as<double>().data(), hessian.inputs_, hessian.inputs_), pool);
  const double mean = factorisation.MeanDiagonal();
  if (!std::isfinite(mean)) return absl::DataLossError("inputs of a matrix are not finite");
  double damping = mean > 0 ? kDamping * mean : 1;
  for (int i = 0; i < kTries; ++i, damping *= 10) {
    if (!factorisation.Factorise(damping)) continue;
    factorisation.DivideByDiagonal();
    return Gptq(std::move(hessian));
  }
  return absl::DataLossError("inputs of a matrix vary too much to be summed");
}

void Gptq::Round(std::span<const float> rows, std::span<std::uint8_t> codes,
                 std::span<Int4Scale> scales) const {
  const std::int64_t inputs = hessian_.inputs_;
  const std::int64_t groups = Int4Groups(inputs);
  const std::int64_t count = std::ssize(rows) / inputs;
  CODEGEN_DCHECK(std::ssize(codes) == count * inputs && std::ssize(scales) == count * groups);
  const ConstSquare a(hessian_.elements_.as<double>().data(), inputs, inputs);
  Rounding rounding(a, Rows(rows.data(), count, inputs), Codes(codes.data(), count, inputs),
                    scales);
  for (std::int64_t group = 0; group < groups; ++group) rounding.RoundGroup(group);
}

}  // namespace codegen::quant
