// SPDX-License-Identifier: Apache-2.0
//
// Attention of one block of queries of one head: y[r] = softmax(q[r] kT / sqrt(dim)) v over the
// positions up to that of r.
//
// Shapes: q [rows <= 24, dim] f32, a key page [dim][16 positions], a value page [16 positions][dim,
// padded to lines], y [rows, dim] f32; keys and values f32 or bf16, widened as they are loaded. The
// thread owns the block; the task beside it is another head or another block.
//
// One pass over blocks of four pages in ascending position (online softmax: Milakov and Gimelshein
// 2018), for a tile of rows at a time: the transposed key pages make q kT a panel product like any
// other, scores come out in lanes without a horizontal sum. Per row there is a running maximum m, a
// sum l of 16 lanes, and the output o [dim]; a block scales l and o by exp(m - new m), once for its
// 64 positions. Exponents are of two: one multiplication takes a score there.
//
// Block boundaries are absolute positions and every sum of a row runs in the order of positions
// (a score: in the order of dim), so a row's bits depend on its own query and history only: not on
// the chunk that it came in, nor on the rows computed beside it. Rows that see only a part of a
// page take exactly the visible positions of its values: what lies in the other slots may be stale.
//
// Bytes moved: 2 x 4 (or 2 x 2) x dim per position and block of queries, from L2 or memory.
//
// Best measured (2 vCPUs of an AMD EPYC (Zen 4), shared, 2026-11-22, never without strangers' work
// on both; a layer of 16 heads of 64). A prompt of 512 on one thread: 65 GFLOP/s, 97 by the dot
// products of attention_dot.cc; of the time, products take 65 %, softmax 17 %, turning and
// appending 17 %. A decode step on two threads, microseconds with a cache of bf16 (f32):
//
//   positions        128           512            2048
//   batch 1       55 (102)     164 (353)      623 (1272)
//   batch 16     706 (1370)   2815 (5398)   13654 (22505)
//
// Tried in vain: prefetching the next pages for a single row. Left out: splitting a long context
// over threads by ranges of positions, which only pays with more threads than heads.
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention.cc"
#include <hwy/foreach_target.h>
//
#include "cpu/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

struct F32 {
  using Type = float;
  static HWY_INLINE V Load(const Type* x) { return hn::Load(F(), x); }
};

struct Bf16 {
  using Type = std::uint16_t;
  static HWY_INLINE V Load(const Type* x) {
    const auto half = hn::Load(hn::Rebind<std::uint16_t, F>(), x);
    return hn::BitCast(F(), hn::ShiftLeft<16>(hn::PromoteTo(U(), half)));
  }
};

// Products in f32, by multiply-adds.
template <class E>
struct F32Products {
  using Element = typename E::Type;

  static void PrepareQueries(const AttendArgs&) {}

  // scores[r][page][t] = q[r] . k[page][t], dims ascending.
  template <int kRows, int kPages>
  static HWY_NOINLINE void Score(const float* q, std::int64_t q_stride,
                                 const std::byte* const* keys, std::int64_t dim, float* scores) {
    const F f;
    constexpr int kSpan = kPages * kVectors;
    V acc[kRows][kSpan];
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int v = 0; v < kSpan; ++v) acc[r][v] = hn::Zero(f);
    }
    const Element* page[kPages];
    HWY_UNROLL(4)
    for (int p = 0; p < kPages; ++p) page[p] = reinterpret_cast<const Element*>(keys[p]);
    for (std::int64_t d = 0; d < dim; ++d) {
      V k[kSpan];
      HWY_UNROLL(16)
      for (int v = 0; v < kSpan; ++v)
        k[v] = E::Load(page[v / kVectors] + d * kLine + v % kVectors * kLanes);
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) {
        const V broadcast = hn::Set(f, q[r * q_stride + d]);
        HWY_UNROLL(16)
        for (int v = 0; v < kSpan; ++v) acc[r][v] = hn::MulAdd(broadcast, k[v], acc[r][v]);
      }
    }
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int v = 0; v < kSpan; ++v)
        hn::Store(acc[r][v], f, scores + r * kBlockPositions + v * kLanes);
    }
  }

  static HWY_INLINE void HoldWeights(V (&weights)[kVectors], float* row, int line) {
    for (int v = 0; v < kVectors; ++v)
      hn::Store(weights[v], F(), row + line * kPagePositions + v * kLanes);
  }

  template <int kRows>
  static void Weigh(const WeighArgs& w) {
    constexpr int kLines = LinesPerTile(kRows);
    std::int64_t column = 0;
    for (; column + kLines * kLine <= w.stride; column += kLines * kLine)
      WeighLines<kRows, kLines>(w, column);
    for (; column < w.stride; column += kLine) WeighLines<kRows, 1>(w, column);
  }

  template <int kRows, int kLines>
  static HWY_NOINLINE void WeighLines(const WeighArgs& w, std::int64_t column) {
    const F f;
    constexpr int kSpan = kLines * kVectors;
    const std::int64_t stride = w.stride;
    float* const o = w.o + column;
    V acc[kRows][kSpan];
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const V rescale = hn::Set(f, w.rescale[r]);
      HWY_UNROLL(16)
      for (int v = 0; v < kSpan; ++v)
        acc[r][v] = hn::Mul(rescale, hn::Load(f, o + r * stride + v * kLanes));
    }
    for (int first = w.first; first < w.last; first += kPagePositions) {
      const float* weights = w.weights[0] + first;
      const float* const end = w.weights[0] + std::min(w.last, first + kPagePositions);
      const Element* values =
          reinterpret_cast<const Element*>(w.values[first / kPagePositions]) + column;
      for (; weights < end; ++weights, values += stride) {
        V value[kSpan];
        HWY_UNROLL(16)
        for (int v = 0; v < kSpan; ++v) value[v] = E::Load(values + v * kLanes);
        HWY_UNROLL(16)
        for (int r = 0; r < kRows; ++r) {
          const V weight = hn::Set(f, weights[r * kBlockPositions]);
          HWY_UNROLL(16)
          for (int v = 0; v < kSpan; ++v) acc[r][v] = hn::MulAdd(weight, value[v], acc[r][v]);
        }
      }
    }
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int v = 0; v < kSpan; ++v) hn::Store(acc[r][v], f, o + r * stride + v * kLanes);
    }
  }
};

void AttendF32(const AttendArgs& args) { BlockPass<F32Products<F32>>(args).Run(); }
void AttendBf16(const AttendArgs& args) { BlockPass<F32Products<Bf16>>(args).Run(); }

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(AttendF32);
HWY_EXPORT(AttendBf16);

void AddAttention(Kernels& kernels) {
  kernels.kv_f32.attend = CODEGEN_VERSION_FOR(kernels.level, AttendF32);
  kernels.kv_bf16.attend = CODEGEN_VERSION_FOR(kernels.level, AttendBf16);
  kernels.kv_bf16_fast.attend = kernels.kv_bf16.attend;
}

}  // namespace codegen::cpu
#endif
