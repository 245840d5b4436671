// SPDX-License-Identifier: Apache-2.0
//
// Attention of one block of queries of one head: y[r] = softmax(q[r] kT / sqrt(dim)) v over the
// positions up to that of r.
//
// Shapes: q [rows <= 12, dim] f32, a key page [dim][16 positions], a value page [16 positions][dim,
// padded to lines], y [rows, dim]. The thread owns the block; the task beside it is another head or
// another block.
//
// One pass over the pages in ascending position (online softmax: Milakov and Gimelshein 2018), each
// page being 16 lanes: the transposed key page makes q kT a panel product like any other, scores
// come out in lanes without a horizontal sum. Per row there is a running maximum m, a sum l of 16
// lanes, and the output o [dim]; a page with a new maximum scales l and o by exp(m - new m).
//
// Page boundaries are absolute positions and every sum of a row runs in the order of positions
// (a score: in the order of dim), so a row's bits depend on its own query and history only: not on
// the chunk that it came in, nor on the rows computed beside it. Rows that see only a part of a
// page take exactly the visible positions of its values: what lies in the other slots may be stale.
//
// Bytes moved: 2 x 4 x dim per position and block of queries, from L2 or memory.
//
// Best measured (one of 2 vCPUs of an AMD EPYC (Zen 4), shared, 2026-11-22; 16 heads of 64): 53
// GFLOP/s for 256 queries at positions 768 to 1023 (half of the f32 peak: the rest is exp and the
// rescaling of o); one query at position 127 in 28 us, 37 GB/s from L2, at 1023 24 GB/s from
// memory.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "backend/rows.h"
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention.cc"
#include <hwy/foreach_target.h>
//
#include "cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

static_assert(backend::kPageTokens == kLine);

constexpr int kTileAccumulators = HWY_CAP_GE512 || HWY_ARCH_ARM_A64 ? 24 : 12;
constexpr int kScoreRows = std::clamp<int>(kTileAccumulators / kVectors, 1, kAttendRows);
constexpr int kValueRows = std::clamp<int>(kTileAccumulators / (2 * kVectors), 1, kAttendRows);

// State of a block: the running maximum and the scale of this page per row, sums and scores in
// lines.
struct Softmax {
  HWY_ALIGN float maximum[kLine];
  HWY_ALIGN float rescale[kLine];
  HWY_ALIGN float sums[kAttendRows][kLine];
  HWY_ALIGN float scores[kAttendRows][kLine];  // then the weights exp(score - maximum)
};

// scores[r][t] = q[r] . k[t], dims ascending.
template <int kRows>
void Scores(const float* q, std::int64_t q_stride, const float* keys, std::int64_t dim,
            float (*scores)[kLine]) {
  const F f;
  V acc[kRows][kVectors];
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::Zero(f);
  }
  for (std::int64_t d = 0; d < dim; ++d) {
    V k[kVectors];
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) k[v] = hn::Load(f, keys + d * kLine + v * kLanes);
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const V broadcast = hn::Set(f, q[r * q_stride + d]);
      HWY_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(broadcast, k[v], acc[r][v]);
    }
  }
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) hn::Store(acc[r][v], f, scores[r] + v * kLanes);
  }
}

// kBlock lines of o[r] = o[r] rescale[r] + sum over the first `visible` positions of weight v.
template <int kRows, int kBlock>
void WeighLines(const Softmax& softmax, int first_row, const float* values, std::int64_t stride,
                int visible, float* o) {
  const F f;
  constexpr int kSpan = kBlock * kVectors;
  V acc[kRows][kSpan];
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    const V rescale = hn::Set(f, softmax.rescale[first_row + r]);
    HWY_UNROLL(16)
    for (int v = 0; v < kSpan; ++v)
      acc[r][v] = hn::Mul(rescale, hn::Load(f, o + r * stride + v * kLanes));
  }
  for (int t = 0; t < visible; ++t) {
    V value[kSpan];
    HWY_UNROLL(16)
    for (int v = 0; v < kSpan; ++v) value[v] = hn::Load(f, values + t * stride + v * kLanes);
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const V weight = hn::Set(f, softmax.scores[first_row + r][t]);
      HWY_UNROLL(16)
      for (int v = 0; v < kSpan; ++v) acc[r][v] = hn::MulAdd(weight, value[v], acc[r][v]);
    }
  }
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (int v = 0; v < kSpan; ++v) hn::Store(acc[r][v], f, o + r * stride + v * kLanes);
  }
}

// All lines of `stride` floats, for rows [first_row, first_row + kRows).
template <int kRows>
void Weigh(const Softmax& softmax, int first_row, const float* values, std::int64_t stride,
           int visible, float* o) {
  constexpr int kBlock = std::max(1, std::min(4, kTileAccumulators / (kRows * kVectors)));
  std::int64_t column = 0;
  for (; column + kBlock * kLine <= stride; column += kBlock * kLine)
    WeighLines<kRows, kBlock>(softmax, first_row, values + column, stride, visible, o + column);
  for (; column < stride; column += kLine)
    WeighLines<kRows, 1>(softmax, first_row, values + column, stride, visible, o + column);
}

// Calls function<n>() for n = rows in [1, kMost].
template <int kMost, class Function>
HWY_INLINE void WithRows(int rows, const Function& function) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return WithRows<kMost - 1>(rows, function);
  }
  function(std::integral_constant<int, kMost>());
}

// What a page means to a block: rows from first_row on see some of it, rows from whole_row on all.
struct PageView {
  const float* keys = nullptr;
  const float* values = nullptr;
  std::int64_t first_position = 0;
  int first_row = 0;
  int whole_row = 0;
};

PageView ViewPage(const AttendArgs& a, std::int64_t page) {
  const std::int64_t first = page * kLine;
  const auto row_at = [&](std::int64_t position) {
    return static_cast<int>(std::clamp<std::int64_t>(position - a.first_position, 0, a.rows));
  };
  return {.keys = a.keys + a.pages[page] * a.page_stride,
          .values = a.values + a.pages[page] * a.page_stride,
          .first_position = first,
          .first_row = row_at(first),
          .whole_row = row_at(first + kLine - 1)};
}

int VisibleOf(const AttendArgs& a, const PageView& page, int row) {
  return static_cast<int>(
      std::min<std::int64_t>(kLine, a.first_position + row - page.first_position + 1));
}

void ScorePage(const AttendArgs& a, const PageView& page, Softmax& softmax) {
  for (int row = page.first_row; row < a.rows; row += kScoreRows) {
    const int rows = std::min(kScoreRows, static_cast<int>(a.rows) - row);
    WithRows<kScoreRows>(rows, [&](auto count) HWY_ATTR {
      Scores<decltype(count)::value>(a.q + row * a.q_stride, a.q_stride, page.keys, a.dim,
                                     softmax.scores + row);
    });
  }
}

// Scores of one row times `scale`, minus infinity where not visible; returns their maximum.
float MaskRow(float* scores, float scale, int visible) {
  const F f;
  const V hidden = hn::Set(f, -std::numeric_limits<float>::infinity());
  V largest = hidden;
  for (int v = 0; v < kVectors; ++v) {
    const auto seen = hn::FirstN(
        f, static_cast<std::size_t>(std::max<int>(0, visible - static_cast<int>(v * kLanes))));
    const V scaled = hn::Mul(hn::Load(f, scores + v * kLanes), hn::Set(f, scale));
    const V masked = hn::IfThenElse(seen, scaled, hidden);
    hn::Store(masked, f, scores + v * kLanes);
    largest = hn::Max(largest, masked);
  }
  return hn::GetLane(hn::MaxOfLanes(f, largest));
}

// Scores become weights; sums take them in.
void WeightRow(Softmax& softmax, int row, int visible) {
  const F f;
  const V maximum = hn::Set(f, softmax.maximum[row]);
  const V rescale = hn::Set(f, softmax.rescale[row]);
  for (int v = 0; v < kVectors; ++v) {
    float* scores = softmax.scores[row] + v * kLanes;
    float* sums = softmax.sums[row] + v * kLanes;
    const auto seen = hn::FirstN(
        f, static_cast<std::size_t>(std::max<int>(0, visible - static_cast<int>(v * kLanes))));
    const V weight = hn::IfThenElseZero(seen, Exp(hn::Sub(hn::Load(f, scores), maximum)));
    hn::Store(weight, f, scores);
    hn::Store(hn::MulAdd(hn::Load(f, sums), rescale, weight), f, sums);
  }
}

void SoftmaxPage(const AttendArgs& a, const PageView& page, Softmax& softmax) {
  const F f;
  const float scale = 1.0F / std::sqrt(static_cast<float>(a.dim));
  HWY_ALIGN float maximum[kLine];
  std::copy_n(softmax.maximum, kLine, maximum);
  for (int row = page.first_row; row < a.rows; ++row)
    maximum[row] =
        std::max(maximum[row], MaskRow(softmax.scores[row], scale, VisibleOf(a, page, row)));
  for (std::int64_t i = 0; i < kLine; i += kLanes) {
    const V before = hn::Load(f, softmax.maximum + i);
    const V after = hn::Load(f, maximum + i);
    hn::Store(Exp(hn::Sub(before, after)), f, softmax.rescale + i);
    hn::Store(after, f, softmax.maximum + i);
  }
  for (int row = page.first_row; row < a.rows; ++row)
    WeightRow(softmax, row, VisibleOf(a, page, row));
}

void WeighPage(const AttendArgs& a, const PageView& page, const Softmax& softmax) {
  const std::int64_t stride = RoundUpToLine(a.dim);
  for (int row = page.first_row; row < page.whole_row; ++row)
    Weigh<1>(softmax, row, page.values, stride, VisibleOf(a, page, row), a.scratch + row * stride);
  for (int row = page.whole_row; row < a.rows; row += kValueRows) {
    const int rows = std::min(kValueRows, static_cast<int>(a.rows) - row);
    WithRows<kValueRows>(rows, [&](auto count) HWY_ATTR {
      Weigh<decltype(count)::value>(softmax, row, page.values, stride, kLine,
                                    a.scratch + row * stride);
    });
  }
}

// y[row] = o[row] / sum of l[row]. Exactly dim floats, a multiple of 8: a neighbour may be at work.
void Normalise(const AttendArgs& a, const Softmax& softmax, int row) {
  const hn::CappedTag<float, 8> f8;
  V line[kVectors];
  for (int v = 0; v < kVectors; ++v) line[v] = hn::Load(F(), softmax.sums[row] + v * kLanes);
  const auto sum = hn::Set(f8, SumOfLine(line));
  const float* o = a.scratch + row * RoundUpToLine(a.dim);
  float* y = a.y + row * a.y_stride;
  for (std::int64_t d = 0; d < a.dim; d += static_cast<std::int64_t>(hn::MaxLanes(f8)))
    hn::StoreU(hn::Div(hn::Load(f8, o + d), sum), f8, y + d);
}

void AttendRows(const AttendArgs& a) {
  Softmax softmax;
  std::fill_n(softmax.maximum, kLine, -std::numeric_limits<float>::infinity());
  std::fill_n(softmax.sums[0], kAttendRows * kLine, 0.0F);
  std::fill_n(a.scratch, a.rows * RoundUpToLine(a.dim), 0.0F);
  const std::int64_t last_page = (a.first_position + a.rows - 1) / kLine;
  for (std::int64_t i = 0; i <= last_page; ++i) {
    const PageView page = ViewPage(a, i);
    ScorePage(a, page, softmax);
    SoftmaxPage(a, page, softmax);
    WeighPage(a, page, softmax);
  }
  for (int row = 0; row < a.rows; ++row) Normalise(a, softmax, row);
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(AttendRows);

void AddAttention(Kernels& kernels) {
  kernels.attend = CODEGEN_VERSION_FOR(kernels.level, AttendRows);
}

}  // namespace codegen::cpu
#endif
