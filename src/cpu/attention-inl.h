// SPDX-License-Identifier: Apache-2.0
//
// The pass of attention.cc over the blocks of a sequence, for any kind of products: it walks, masks
// and takes the softmax; `Products` multiplies. Compiled once per instruction set.
//
// Products has
//   PrepareQueries(a)                rewrites a.q [rows, dim] to what Score reads
//   TileRows(rows, position)         how many of `rows`, the first at `position`, make a tile
//   Score(rows, ScoreArgs)
//   HoldWeights(weights, row, line)  keeps a line of weights for Weigh; returns them as rounded
//   Weigh(rows, WeighArgs)           over whole pages that all of them see
//   WeighRest(WeighArgs)             of one row, over positions behind those
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

// Tiles of so few rows wait for memory: they ask for the next block while they multiply this one.
constexpr int kPrefetchingRows = 3;

// State of the rows. Scores and maxima are kept as they come out of the product: times
// log2(e) / sqrt(dim) they are exponents of two.
struct Softmax {
  HWY_ALIGN float shift[kAttendRows + kLine];    // the running maximum, as an exponent
  HWY_ALIGN float rescale[kAttendRows + kLine];  // of this block
  HWY_ALIGN float sums[kAttendRows][kLine];
  HWY_ALIGN float scores[kAttendRows][kBlockPositions];  // then what HoldWeights makes of them
};

// scores[r][page][t] = q[r] . k[page][t], dims ascending.
struct ScoreArgs {
  const float* q = nullptr;  // [rows, dim], as prepared
  std::int64_t q_stride = 0;
  const std::byte* const* keys = nullptr;       // [pages]
  const std::byte* const* next_keys = nullptr;  // [pages], of the block after this one
  int pages = 0;
  std::int64_t dim = 0;
  float* scores = nullptr;  // [rows][kBlockPositions]
};

// o[r] = o[r] rescale[r] + sum over positions [first, last) of the block of weight[r] value.
struct WeighArgs {
  const std::byte* const* values = nullptr;           // [kBlockPages]
  const std::byte* const* next_values = nullptr;      // the same, of the block after this one
  const float (*weights)[kBlockPositions] = nullptr;  // [rows], as held
  const float* rescale = nullptr;                     // [rows]
  int first = 0;                                      // whole pages
  int last = 0;
  std::int64_t stride = 0;  // elements of a value and of o, padded to lines
  float* o = nullptr;       // [rows, stride]
};

// 2^t for t <= 0 or hardly more, within a unit in the last place; about 2^-125 below that; NaN
// stays NaN. 2^0 is exactly 1.
//
// t = n + r with |r| <= 1/2; 2^r by a polynomial by Remez' exchange for the least relative error
// (2.6e-9); times 2^n. n is found as in Exp (vectors-inl.h).
HWY_INLINE V Exp2(V t) {
  const F f;
  const U u;
  const V least = hn::Set(f, -125.0F);
  t = hn::IfThenElse(hn::Lt(t, least), least, t);  // Max loses NaN on some instruction sets
  const V rounder = hn::Set(f, 0x1.8p23F + 127);
  const V sum = hn::Add(t, rounder);
  const V r = hn::Sub(t, hn::Sub(sum, rounder));
  V p = hn::Set(f, 1.5594685e-4F);
  p = hn::MulAdd(p, r, hn::Set(f, 1.3406647e-3F));
  p = hn::MulAdd(p, r, hn::Set(f, 9.617693e-3F));
  p = hn::MulAdd(p, r, hn::Set(f, 5.5503104e-2F));
  p = hn::MulAdd(p, r, hn::Set(f, 2.4022652e-1F));
  p = hn::MulAdd(p, r, hn::Set(f, 6.9314724e-1F));
  p = hn::MulAdd(p, r, hn::Set(f, 1.0F));
  return hn::Mul(p, hn::BitCast(f, hn::ShiftLeft<23>(hn::BitCast(u, sum))));
}

// Products in vectors, in tiles of 12, 6, 3 rows or one. `Kernels` has
//   ScorePages<rows, pages>(ScoreArgs, first page)
//   WeighLines<rows, lines>(WeighArgs, first column)
template <class Kernels>
class VectorProducts {
 public:
  static int TileRows(int rows, std::int64_t) {
    for (const int tile : {12, 6, 3})
      if (kTileRows >= tile && rows >= tile) return tile;
    return 1;
  }

  static void Score(int rows, const ScoreArgs& s) {
    ForTile(rows, [&s]<int kRows>() { ScoreTile<kRows>(s); });
  }
  static void Weigh(int rows, const WeighArgs& w) {
    ForTile(rows, [&w]<int kRows>() { WeighTile<kRows>(w); });
  }
  static void WeighRest(const WeighArgs& w) { WeighTile<1>(w); }

 private:
  template <class Work>
  static void ForTile(int rows, const Work& work) {
    if constexpr (kTileRows >= 12) {
      if (rows == 12) return work.template operator()<12>();
    }
    if constexpr (kTileRows >= 6) {
      if (rows == 6) return work.template operator()<6>();
    }
    if constexpr (kTileRows >= 3) {
      if (rows == 3) return work.template operator()<3>();
    }
    work.template operator()<1>();
  }

  template <int kRows>
  static void ScoreTile(const ScoreArgs& s) {
    constexpr int kMost = PagesPerTile(kRows);
    int page = 0;
    if constexpr (kMost >= 4) {
      for (; page + 4 <= s.pages; page += 4) Kernels::template ScorePages<kRows, 4>(s, page);
    }
    if constexpr (kMost >= 2) {
      for (; page + 2 <= s.pages; page += 2) Kernels::template ScorePages<kRows, 2>(s, page);
    }
    for (; page < s.pages; ++page) Kernels::template ScorePages<kRows, 1>(s, page);
  }

  template <int kRows>
  static void WeighTile(const WeighArgs& w) {
    constexpr int kLines = LinesPerTile(kRows);
    std::int64_t column = 0;
    for (; column + kLines * kLine <= w.stride; column += kLines * kLine)
      Kernels::template WeighLines<kRows, kLines>(w, column);
    for (; column < w.stride; column += kLine) Kernels::template WeighLines<kRows, 1>(w, column);
  }
};

template <class Products>
class BlockPass {
 public:
  explicit BlockPass(const AttendArgs& a)
      : a_(a),
        stride_(RoundUpToLine(a.dim)),
        exponent_of_score_(1.44269504F / std::sqrt(static_cast<float>(a.dim))) {}

  void Run() {
    std::fill_n(softmax_.shift, a_.rows + kLine, -std::numeric_limits<float>::infinity());
    std::fill_n(softmax_.sums[0], a_.rows * kLine, 0.0F);
    std::fill_n(a_.o, a_.rows * stride_, 0.0F);
    products_.PrepareQueries(a_);
    const std::int64_t last_position = a_.first_position + a_.rows - 1;
    for (block_ = 0; block_ <= last_position; block_ += kBlockPositions) {
      FindPages(last_position);
      const std::int64_t hidden = std::max<std::int64_t>(0, block_ - a_.first_position);
      for (int row = static_cast<int>(hidden); row < a_.rows;) row += Tile(row);
    }
    for (int row = 0; row < a_.rows; ++row) Normalise(row);
  }

 private:
  // Those of the block and of the next; for pages behind the last, the last one.
  void FindPages(std::int64_t last_position) {
    for (std::int64_t i = 0; i < 2 * kBlockPages; ++i) {
      const std::int64_t page =
          std::min(block_ / kPagePositions + i, last_position / kPagePositions);
      const std::int64_t offset = a_.pages[page] * a_.page_bytes;
      keys_[i] = a_.keys + offset;
      values_[i] = a_.values + offset;
    }
  }

  // Positions of the block that `row` sees.
  int Visible(int row) const {
    return static_cast<int>(
        std::min<std::int64_t>(kBlockPositions, a_.first_position + row - block_ + 1));
  }

  // The positions of the block that lie in pages before that of `row` itself.
  int Before(int row) const {
    const std::int64_t own = a_.first_position + row - block_;
    return static_cast<int>(std::min<std::int64_t>(kBlockPositions, own)) / kPagePositions *
           kPagePositions;
  }

  // A tile of rows from `row` on; returns how many.
  int Tile(int row) {
    const int rows = products_.TileRows(static_cast<int>(a_.rows) - row, a_.first_position + row);
    const int seen = Visible(row + rows - 1);
    products_.Score(rows, {.q = a_.q + row * stride_,
                           .q_stride = stride_,
                           .keys = keys_,
                           .next_keys = keys_ + kBlockPages,
                           .pages = (seen + kPagePositions - 1) / kPagePositions,
                           .dim = a_.dim,
                           .scores = softmax_.scores[row]});
    TakeSoftmax(row, rows);
    const int whole = Before(row);
    products_.Weigh(rows, {.values = values_,
                           .next_values = values_ + kBlockPages,
                           .weights = softmax_.scores + row,
                           .rescale = softmax_.rescale + row,
                           .first = 0,
                           .last = whole,
                           .stride = stride_,
                           .o = a_.o + row * stride_});
    for (int r = row; r < row + rows; ++r) WeighRest(r, whole);
    return rows;
  }

  // What a row sees beyond the whole pages of its tile: never a slot that it does not see, which
  // may hold anything.
  void WeighRest(int row, int first) {
    if (Visible(row) == first) return;
    static constexpr float kKeep = 1.0F;
    products_.WeighRest({.values = values_,
                         .next_values = values_ + kBlockPages,
                         .weights = softmax_.scores + row,
                         .rescale = &kKeep,
                         .first = first,
                         .last = Visible(row),
                         .stride = stride_,
                         .o = a_.o + row * stride_});
  }

  // Scores become weights; sums take them in. What has one number for each row is computed for a
  // vector of rows at a time.
  void TakeSoftmax(int row, int rows) {
    const F f;
    HWY_ALIGN float largest[kLine];
    std::fill_n(largest, kLine, -std::numeric_limits<float>::infinity());
    for (int r = 0; r < rows; ++r) largest[r] = LargestScore(row + r);
    const V factor = hn::Set(f, exponent_of_score_);
    for (int r = 0; r < rows; r += kLanes) {
      float* const shifts = softmax_.shift + row + r;
      const V before = hn::LoadU(f, shifts);
      const auto mine = hn::FirstN(f, static_cast<std::size_t>(rows - r));
      const V larger = hn::Max(before, hn::Mul(hn::Load(f, largest + r), factor));
      const V shift = hn::IfThenElse(mine, larger, before);
      hn::StoreU(Exp2(hn::Sub(before, shift)), f, softmax_.rescale + row + r);
      hn::StoreU(shift, f, shifts);
    }
    for (int r = row; r < row + rows; ++r) WeightsFromScores(r);
  }

  float LargestScore(int row) {
    const F f;
    float* const scores = softmax_.scores[row];
    const int visible = Visible(row);
    if (visible % kPagePositions != 0) HideTail(scores, visible);
    V largest = hn::Load(f, scores);
    for (int k = kLanes; k < visible; k += kLanes)
      largest = hn::Max(largest, hn::Load(f, scores + k));
    return hn::GetLane(hn::MaxOfLanes(f, largest));
  }

  void WeightsFromScores(int row) {
    const F f;
    float* const scores = softmax_.scores[row];
    const int visible = Visible(row);
    const V factor = hn::Set(f, exponent_of_score_);
    const V shift = hn::Set(f, softmax_.shift[row]);
    const V rescale = hn::Set(f, softmax_.rescale[row]);
    V sums[kVectors];
    for (int v = 0; v < kVectors; ++v)
      sums[v] = hn::Mul(rescale, hn::Load(f, softmax_.sums[row] + v * kLanes));
    for (int first = 0; first < visible; first += kPagePositions) {
      V weights[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const V score = hn::Load(f, scores + first + v * kLanes);
        weights[v] = Exp2(hn::MulSub(score, factor, shift));
      }
      if (first + kPagePositions > visible) ZeroTail(weights, visible % kPagePositions);
      products_.HoldWeights(weights, scores, first / kPagePositions);
      for (int v = 0; v < kVectors; ++v) sums[v] = hn::Add(sums[v], weights[v]);
    }
    for (int v = 0; v < kVectors; ++v) hn::Store(sums[v], f, softmax_.sums[row] + v * kLanes);
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
  const std::byte* keys_[2 * kBlockPages] = {};
  const std::byte* values_[2 * kBlockPages] = {};
  Products products_;
  Softmax softmax_;
};

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // CODEGEN_CPU_ATTENTION_INL_H_
