// SPDX-License-Identifier: Apache-2.0
//
// Attention of one block of queries of one head: y[r] = softmax(q[r] kT / sqrt(dim)) v over the
// positions up to that of r.
//
// Shapes: q [rows <= 32, dim] f32, pages of keys and values as in kernels.h, y [rows, dim] f32;
// keys and values f32 or bf16, widened as they are loaded: of a pair of bf16 in a lane the second
// is a float already, but for bits that a mask takes away. The thread owns the block; the task
// beside it is another head or another block.
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
// Measured on two threads of a Xeon with AMX (bench/results/2026-11-23-xeon-amx.md), microseconds
// for a layer of 16 heads of 64 with a cache of bf16; in brackets before keys and values of a head
// lay together, pairs side by side, and the next block was asked for:
//
//   prompt of 512                         2,742 (2,879)   by tiles of AMX 1,443
//   decode, 1 sequence of 512 positions      88   (111)
//           16 sequences of 512           1,165 (1,858)   by tiles of AMX 1,250
//           16 sequences of 2,048         6,540 (8,517)   by tiles of AMX 5,400
//
// That is 20 to 28 of 34 GB/s. Left out: splitting a long context over threads by ranges of
// positions, which only pays with more threads than heads.
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

// What a cache holds: kBeside dims of a key, or positions of a value, side by side (kernels.h).
struct F32 {
  using Type = float;
  static constexpr int kBeside = 1;
  template <int>
  static HWY_INLINE V Load(const Type* x) {
    return hn::Load(F(), x);
  }
};

struct Bf16 {
  using Type = std::uint16_t;
  static constexpr int kBeside = 2;
  // The first or the second of each pair.
  template <int kWhich>
  static HWY_INLINE V Load(const Type* x) {
    const auto pairs = hn::Load(U(), reinterpret_cast<const std::uint32_t*>(x));
    if constexpr (kWhich == 0) return hn::BitCast(F(), hn::ShiftLeft<16>(pairs));
    return hn::BitCast(F(), hn::And(pairs, hn::Set(U(), 0xFFFF0000U)));
  }
};

// Products in f32, by multiply-adds.
template <class E>
struct F32Products : VectorProducts<F32Products<E>> {
  using Element = typename E::Type;

  static void PrepareQueries(const AttendArgs&) {}

  template <int kRows, int kPages>
  static HWY_NOINLINE void ScorePages(const ScoreArgs& s, int first_page) {
    const F f;
    constexpr int kSpan = kPages * kVectors;
    V acc[kRows][kSpan];
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int v = 0; v < kSpan; ++v) acc[r][v] = hn::Zero(f);
    }
    const Element* page[kPages];
    const std::byte* next[kPages];
    HWY_UNROLL(4)
    for (int p = 0; p < kPages; ++p) {
      page[p] = reinterpret_cast<const Element*>(s.keys[first_page + p]);
      next[p] = s.next_keys[first_page + p];
    }
    const float* q = s.q;
    const std::int64_t q_stride = s.q_stride;
    const std::int64_t elements = s.dim * kLine;
    for (std::int64_t at = 0; at < elements; at += E::kBeside * kLine, q += E::kBeside) {
      if constexpr (kRows <= kPrefetchingRows) {
        HWY_UNROLL(4)
        for (int p = 0; p < kPages; ++p)
          __builtin_prefetch(next[p] + at * std::int64_t{sizeof(Element)});
      }
      const auto add = [&]<int kWhich>() HWY_ATTR {
        V k[kSpan];
        HWY_UNROLL(16)
        for (int v = 0; v < kSpan; ++v)
          k[v] = E::template Load<kWhich>(page[v / kVectors] + at +
                                          v % kVectors * kLanes * E::kBeside);
        HWY_UNROLL(16)
        for (int r = 0; r < kRows; ++r) {
          const V broadcast = hn::Set(f, q[r * q_stride + kWhich]);
          HWY_UNROLL(16)
          for (int v = 0; v < kSpan; ++v) acc[r][v] = hn::MulAdd(broadcast, k[v], acc[r][v]);
        }
      };
      add.template operator()<0>();
      if constexpr (E::kBeside == 2) add.template operator()<1>();
    }
    float* const scores = s.scores + first_page * kPagePositions;
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
      const std::int64_t skipped = column * E::kBeside;
      const Element* values =
          reinterpret_cast<const Element*>(w.values[first / kPagePositions]) + skipped;
      const Element* next =
          reinterpret_cast<const Element*>(w.next_values[first / kPagePositions]) + skipped;
      const auto add = [&]<int kWhich>() HWY_ATTR {
        V value[kSpan];
        HWY_UNROLL(16)
        for (int v = 0; v < kSpan; ++v)
          value[v] = E::template Load<kWhich>(values + v * kLanes * E::kBeside);
        HWY_UNROLL(16)
        for (int r = 0; r < kRows; ++r) {
          const V weight = hn::Set(f, weights[r * kBlockPositions + kWhich]);
          HWY_UNROLL(16)
          for (int v = 0; v < kSpan; ++v) acc[r][v] = hn::MulAdd(weight, value[v], acc[r][v]);
        }
      };
      for (; weights < end; weights += E::kBeside) {
        if constexpr (kRows <= kPrefetchingRows) {
          HWY_UNROLL(4)
          for (int line = 0; line < kLines; ++line)
            __builtin_prefetch(next + line * kLine * E::kBeside);
        }
        add.template operator()<0>();
        if constexpr (E::kBeside == 2) {
          if (weights + 1 < end) add.template operator()<1>();
        }
        values += stride * E::kBeside;
        next += stride * E::kBeside;
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
