// SPDX-License-Identifier: Apache-2.0
//
// The pass of attention.cc over the blocks of a sequence, for any kind of products: it walks, masks
// and takes the softmax; `Products` multiplies. Compiled once per instruction set.
//
// Products has
//   Element                                     what the cache holds
//   PrepareQueries(a)                           rewrites a.q [rows, dim] to what Score reads
//   Score<rows, pages>(q, q_stride, keys, dim, scores)
//   HoldWeights(weights, row, line)             keeps a line of weights for Weigh; returns them as
//                                               rounded
//   Weigh<rows>(WeighArgs)
#if defined(CODEGEN_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CODEGEN_CPU_ATTENTION_INL_H_
#undef CODEGEN_CPU_ATTENTION_INL_H_
#else
#define CODEGEN_CPU_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "backend/rows.h"
#include "cpu/kernels.h"
#include "cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

static_assert(backend::kPageTokens == kLine);

constexpr int kPagePositions = backend::kPageTokens;
constexpr int kBlockPages = 4;
constexpr int kBlockPositions = kBlockPages * kPagePositions;

// Of 32 or 16 registers.
constexpr int kTileAccumulators = HWY_CAP_GE512 || HWY_ARCH_ARM_A64 ? 24 : 12;
constexpr int kTileRows = std::clamp(kTileAccumulators / kVectors, 1, 12);
constexpr int PagesPerTile(int rows) {
  int pages = kBlockPages;
  while (pages > 1 && pages * rows * kVectors > kTileAccumulators) pages /= 2;
  return pages;
}
// Lines of a value beside each other; never fewer than four chains.
constexpr int LinesPerTile(int rows) {
  return std::max(1, std::min(4, kTileAccumulators / (rows * kVectors)));
}

// State of the rows. Scores and maxima are kept as they come out of the product: times
// log2(e) / sqrt(dim) they are exponents of two.
struct Softmax {
  HWY_ALIGN float shift[kAttendRows];    // the running maximum, as an exponent
  HWY_ALIGN float rescale[kAttendRows];  // of this block
  HWY_ALIGN float sums[kAttendRows][kLine];
  HWY_ALIGN float scores[kAttendRows][kBlockPositions];  // then what HoldWeights makes of them
};

// o[r] = o[r] rescale[r] + sum over positions [first, last) of the block of weight[r] value.
struct WeighArgs {
  const std::byte* const* values = nullptr;           // [kBlockPages]
  const float (*weights)[kBlockPositions] = nullptr;  // [rows], as held
  const float* rescale = nullptr;                     // [rows]
  int first = 0;                                      // whole pages
  int last = 0;
  std::int64_t stride = 0;  // elements of a value and of o, padded to lines
  float* o = nullptr;       // [rows, stride]
};

// 2^t for t <= 0 or hardly more, within 2 units in the last place; about 2^-125 below that; NaN
// stays NaN. 2^0 is exactly 1.
//
// t = n + r with |r| <= 1/2; 2^r by a polynomial (Cephes' exp2f: 1.7e-7); times 2^n.
HWY_INLINE V Exp2(V t) {
  const F f;
  const I i;
  const V least = hn::Set(f, -125.0F);
  t = hn::IfThenElse(hn::Lt(t, least), least, t);  // Max loses NaN on some instruction sets
  const auto n = hn::NearestInt(t);
  const V r = hn::Sub(t, hn::ConvertTo(f, n));
  V p = hn::Set(f, 1.535336188e-4F);
  p = hn::MulAdd(p, r, hn::Set(f, 1.339887440e-3F));
  p = hn::MulAdd(p, r, hn::Set(f, 9.618437358e-3F));
  p = hn::MulAdd(p, r, hn::Set(f, 5.550332471e-2F));
  p = hn::MulAdd(p, r, hn::Set(f, 2.402264791e-1F));
  p = hn::MulAdd(p, r, hn::Set(f, 6.931472029e-1F));
  p = hn::MulAdd(p, r, hn::Set(f, 1.0F));
  return hn::Mul(p, hn::BitCast(f, hn::ShiftLeft<23>(hn::Add(n, hn::Set(i, 127)))));
}

template <class Products>
class BlockPass {
 public:
  explicit BlockPass(const AttendArgs& a)
      : a_(a),
        stride_(RoundUpToLine(a.dim)),
        exponent_of_score_(1.44269504F / std::sqrt(static_cast<float>(a.dim))) {}

  void Run() {
    std::fill_n(softmax_.shift, a_.rows, -std::numeric_limits<float>::infinity());
    std::fill_n(softmax_.sums[0], a_.rows * kLine, 0.0F);
    std::fill_n(a_.o, a_.rows * stride_, 0.0F);
    Products::PrepareQueries(a_);
    const std::int64_t last_position = a_.first_position + a_.rows - 1;
    for (block_ = 0; block_ <= last_position; block_ += kBlockPositions) {
      FindPages(last_position);
      const std::int64_t hidden = std::max<std::int64_t>(0, block_ - a_.first_position);
      for (int row = static_cast<int>(hidden); row < a_.rows;) row += Tile(row);
    }
    for (int row = 0; row < a_.rows; ++row) Normalise(row);
  }

 private:
  using Element = typename Products::Element;

  void FindPages(std::int64_t last_position) {
    const std::int64_t pages =
        std::min<std::int64_t>(kBlockPages, (last_position - block_) / kPagePositions + 1);
    for (std::int64_t i = 0; i < pages; ++i) {
      const std::int64_t offset = a_.pages[block_ / kPagePositions + i] * a_.page_bytes;
      keys_[i] = a_.keys + offset;
      values_[i] = a_.values + offset;
    }
  }

  // Positions of the block that `row` sees.
  int Visible(int row) const {
    return static_cast<int>(
        std::min<std::int64_t>(kBlockPositions, a_.first_position + row - block_ + 1));
  }

  // As many rows from `row` on as a tile has; returns how many.
  int Tile(int row) {
    const int rows = static_cast<int>(a_.rows) - row;
    if constexpr (kTileRows >= 12) {
      if (rows >= 12) return TileOf<12>(row);
    }
    if constexpr (kTileRows >= 6) {
      if (rows >= 6) return TileOf<6>(row);
    }
    if constexpr (kTileRows >= 3) {
      if (rows >= 3) return TileOf<3>(row);
    }
    return TileOf<1>(row);
  }

  template <int kRows>
  int TileOf(int row) {
    Score<kRows>(row, (Visible(row + kRows - 1) + kPagePositions - 1) / kPagePositions);
    for (int r = row; r < row + kRows; ++r) TakeSoftmax(r, Visible(r));
    const int whole = Visible(row) / kPagePositions * kPagePositions;
    const WeighArgs tile{.values = values_,
                         .weights = softmax_.scores + row,
                         .rescale = softmax_.rescale + row,
                         .first = 0,
                         .last = whole,
                         .stride = stride_,
                         .o = a_.o + row * stride_};
    Products::template Weigh<kRows>(tile);
    for (int r = row; r < row + kRows; ++r) WeighRest(r, whole);
    return kRows;
  }

  template <int kRows>
  void Score(int row, int pages) {
    constexpr int kMost = PagesPerTile(kRows);
    int page = 0;
    if constexpr (kMost >= 4) {
      for (; page + 4 <= pages; page += 4) ScorePages<kRows, 4>(row, page);
    }
    if constexpr (kMost >= 2) {
      for (; page + 2 <= pages; page += 2) ScorePages<kRows, 2>(row, page);
    }
    for (; page < pages; ++page) ScorePages<kRows, 1>(row, page);
  }

  template <int kRows, int kPages>
  void ScorePages(int row, int page) {
    Products::template Score<kRows, kPages>(a_.q + row * stride_, stride_, keys_ + page, a_.dim,
                                            softmax_.scores[row] + page * kPagePositions);
  }

  // What a row sees beyond the whole pages of its tile: never a slot that it does not see, which
  // may hold anything.
  void WeighRest(int row, int first) {
    if (Visible(row) == first) return;
    static constexpr float kKeep = 1.0F;
    Products::template Weigh<1>({.values = values_,
                                 .weights = softmax_.scores + row,
                                 .rescale = &kKeep,
                                 .first = first,
                                 .last = Visible(row),
                                 .stride = stride_,
                                 .o = a_.o + row * stride_});
  }

  // Scores become weights; sums take them in.
  void TakeSoftmax(int row, int visible) {
    const F f;
    float* const scores = softmax_.scores[row];
    const int lines = (visible + kPagePositions - 1) / kPagePositions;
    if (visible % kPagePositions != 0) HideTail(scores, visible);
    V largest = hn::Load(f, scores);
    for (int k = kLanes; k < lines * kPagePositions; k += kLanes)
      largest = hn::Max(largest, hn::Load(f, scores + k));
    const V factor = hn::Set(f, exponent_of_score_);
    const V before = hn::Set(f, softmax_.shift[row]);
    const V shift = hn::Max(before, hn::Mul(hn::MaxOfLanes(f, largest), factor));
    const V rescale = Exp2(hn::Sub(before, shift));
    V sums[kVectors];
    for (int v = 0; v < kVectors; ++v)
      sums[v] = hn::Mul(rescale, hn::Load(f, softmax_.sums[row] + v * kLanes));
    for (int line = 0; line < lines; ++line) {
      V weights[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const V score = hn::Load(f, scores + line * kPagePositions + v * kLanes);
        weights[v] = Exp2(hn::MulSub(score, factor, shift));
      }
      if ((line + 1) * kPagePositions > visible) ZeroTail(weights, visible % kPagePositions);
      Products::HoldWeights(weights, scores, line);
      for (int v = 0; v < kVectors; ++v) sums[v] = hn::Add(sums[v], weights[v]);
    }
    for (int v = 0; v < kVectors; ++v) hn::Store(sums[v], f, softmax_.sums[row] + v * kLanes);
    softmax_.shift[row] = hn::GetLane(shift);
    softmax_.rescale[row] = hn::GetLane(rescale);
  }

  static auto Seen(int vector, int visible) {
    const int left = visible - vector * static_cast<int>(kLanes);
    return hn::FirstN(F(), static_cast<std::size_t>(std::max(0, left)));
  }

  // Minus infinity behind position `visible` of its page.
  static void HideTail(float* scores, int visible) {
    const F f;
    const V hidden = hn::Set(f, -std::numeric_limits<float>::infinity());
    float* const line = scores + visible / kPagePositions * kPagePositions;
    for (int v = 0; v < kVectors; ++v) {
      const V score = hn::Load(f, line + v * kLanes);
      hn::Store(hn::IfThenElse(Seen(v, visible % kPagePositions), score, hidden), f,
                line + v * kLanes);
    }
  }

  static void ZeroTail(V (&weights)[kVectors], int visible) {
    for (int v = 0; v < kVectors; ++v)
      weights[v] = hn::IfThenElseZero(Seen(v, visible), weights[v]);
  }

  // y[row] = o[row] / sum of l[row]. Exactly dim floats, a multiple of 8: a neighbour may be at
  // work.
  void Normalise(int row) {
    const hn::CappedTag<float, 8> f8;
    V line[kVectors];
    for (int v = 0; v < kVectors; ++v) line[v] = hn::Load(F(), softmax_.sums[row] + v * kLanes);
    const auto sum = hn::Set(f8, SumOfLine(line));
    const float* o = a_.o + row * stride_;
    float* y = a_.y + row * a_.y_stride;
    for (std::int64_t d = 0; d < a_.dim; d += static_cast<std::int64_t>(hn::MaxLanes(f8)))
      hn::StoreU(hn::Div(hn::Load(f8, o + d), sum), f8, y + d);
  }

  const AttendArgs& a_;
  const std::int64_t stride_;
  const float exponent_of_score_;
  std::int64_t block_ = 0;  // first position
  const std::byte* keys_[kBlockPages] = {};
  const std::byte* values_[kBlockPages] = {};
  Softmax softmax_;
};

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // CODEGEN_CPU_ATTENTION_INL_H_
