// SPDX-License-Identifier: Apache-2.0
//
// Attention (attention.cc) over a bf16 cache by vdpbf16ps: two products per lane, of pairs of dims
// for scores and of pairs of positions for outputs. In intrinsics, because Highway 1.0 has none.
// And by the tiles of AMX (attention_amx.h).
//
// The bits are a contract of their own: queries and weights are rounded to bf16, the sums of
// weights take them as rounded, denormals are taken as zero; vdpbf16ps adds the product of the odd
// dim or position first, tiles as attention_amx.h says.
// GCC 12 takes the undefined registers inside its own AVX-512 intrinsics for a mistake of ours.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention_dot.cc"
#include <hwy/foreach_target.h>
//
#include <algorithm>
#include <cstring>

#include "cpu/attention-inl.h"
#include "cpu/attention_amx.h"

#if HWY_TARGET == HWY_AVX3

#include <immintrin.h>

#include "cpu/amx_tiles.h"

// One list of attributes for all: no compiler makes bf16 instructions of its own accord.
HWY_PUSH_ATTRIBUTES(
    "avx2,fma,f16c,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx512bf16")
namespace codegen::cpu {
namespace HWY_NAMESPACE {

constexpr std::int64_t kPairBytes = 4;

HWY_INLINE __m512bh Broadcast(const std::byte* pair) {
  std::int32_t value;
  std::memcpy(&value, pair, sizeof(value));
  return (__m512bh)_mm512_set1_epi32(value);
}

HWY_INLINE __m512i LineAt(const std::byte* line) {
  return _mm512_load_si512(static_cast<const void*>(line));
}

// Rows of 16 floats to rows of 16 bf16 in the first half of the same memory.
HWY_NOINLINE void RoundRows(float* rows, std::int64_t count, std::int64_t stride) {
  for (std::int64_t r = 0; r < count; ++r) {
    float* const row = rows + r * stride;
    auto* const out = reinterpret_cast<std::byte*>(row);
    for (std::int64_t d = 0; d < stride; d += kLine) {
      const __m256bh half = _mm512_cvtneps_pbh(_mm512_load_ps(row + d));
      _mm256_store_si256(reinterpret_cast<__m256i*>(out + d * 2), (__m256i)half);
    }
  }
}

template <int kRows, int kPages>
HWY_NOINLINE void ScoreDots(const ScoreArgs& s, int first_page) {
  __m512 acc[kRows][kPages];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p) acc[r][p] = _mm512_setzero_ps();
  }
  const std::byte* page[kPages];
  const std::byte* next[kPages];
#pragma GCC unroll 4
  for (int p = 0; p < kPages; ++p) {
    page[p] = s.keys[first_page + p];
    next[p] = s.next_keys[first_page + p];
  }
  const auto* q = reinterpret_cast<const std::byte*>(s.q);
  const std::int64_t q_stride = s.q_stride * 4;
  for (std::int64_t at = 0; at < s.dim / 2 * kLineBytes; at += kLineBytes, q += kPairBytes) {
    __m512i k[kPages];
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p) {
      if constexpr (kRows <= kPrefetchingRows) __builtin_prefetch(next[p] + at);
      k[p] = LineAt(page[p] + at);
    }
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m512bh broadcast = Broadcast(q + r * q_stride);
#pragma GCC unroll 4
      for (int p = 0; p < kPages; ++p)
        acc[r][p] = _mm512_dpbf16_ps(acc[r][p], (__m512bh)k[p], broadcast);
    }
  }
  float* const scores = s.scores + first_page * kPagePositions;
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p)
      _mm512_store_ps(scores + r * kBlockPositions + p * kPagePositions, acc[r][p]);
  }
}

template <int kRows, int kLines>
HWY_NOINLINE void WeighDots(const WeighArgs& w, std::int64_t column) {
  const std::int64_t stride = w.stride;
  float* const o = w.o + column;
  __m512 acc[kRows][kLines];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    const __m512 rescale = _mm512_set1_ps(w.rescale[r]);
#pragma GCC unroll 4
    for (int v = 0; v < kLines; ++v)
      acc[r][v] = _mm512_mul_ps(rescale, _mm512_load_ps(o + r * stride + v * kLine));
  }
  for (int first = w.first; first < w.last; first += 2) {
    const auto* const weights = reinterpret_cast<const std::byte*>(w.weights[0]) + first * 2;
    const int page = first / kPagePositions;
    const std::int64_t skipped = (first % kPagePositions / 2 * stride + column) * kPairBytes;
    const __mmask32 seen = first + 1 < w.last ? 0xFFFFFFFFU : 0x55555555U;
    __m512i value[kLines];
#pragma GCC unroll 4
    for (int v = 0; v < kLines; ++v) {
      if constexpr (kRows <= kPrefetchingRows)
        __builtin_prefetch(w.next_values[page] + skipped + v * kLineBytes);
      value[v] = _mm512_maskz_mov_epi16(seen, LineAt(w.values[page] + skipped + v * kLineBytes));
    }
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m512bh weight = Broadcast(weights + r * kBlockPositions * 4);
#pragma GCC unroll 4
      for (int v = 0; v < kLines; ++v)
        acc[r][v] = _mm512_dpbf16_ps(acc[r][v], (__m512bh)value[v], weight);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kLines; ++v) _mm512_store_ps(o + r * stride + v * kLine, acc[r][v]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_POP_ATTRIBUTES

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

struct Bf16Dots : VectorProducts<Bf16Dots> {
  static void PrepareQueries(const AttendArgs& a) { RoundRows(a.q, a.rows, RoundUpToLine(a.dim)); }

  template <int kRows, int kPages>
  static void ScorePages(const ScoreArgs& s, int first_page) {
    ScoreDots<kRows, kPages>(s, first_page);
  }

  // Rounded to nearest, halves up: weights are positive or NaN. In the first half of the row.
  static HWY_INLINE void HoldWeights(V (&weights)[kVectors], float* row, int line) {
    const U u;
    const auto rounded =
        hn::And(hn::Add(hn::BitCast(u, weights[0]), hn::Set(u, 0x8000)), hn::Set(u, 0xFFFF0000));
    weights[0] = hn::BitCast(F(), rounded);
    const hn::Rebind<std::uint16_t, F> half;
    hn::Store(hn::DemoteTo(half, hn::BitCast(I(), hn::ShiftRight<16>(rounded))), half,
              reinterpret_cast<std::uint16_t*>(row) + line * kPagePositions);
  }

  template <int kRows, int kLines>
  static void WeighLines(const WeighArgs& w, std::int64_t column) {
    WeighDots<kRows, kLines>(w, column);
  }
};

// In tiles of up to 16 rows whose own page is the same: scores by AMX, and so the values of all
// pages before that one; its own values by vdpbf16ps row for row, since no product may touch those
// in slots that a row does not see. So the kind of a product hangs on the positions of row and
// value alone.
class TileProducts : public Bf16Dots {
 public:
  TileProducts() = default;
  TileProducts(const TileProducts&) = delete;
  TileProducts& operator=(const TileProducts&) = delete;
  ~TileProducts() {
    if (rows_ > 0) AmxTiles::Release();
  }

  static int TileRows(int rows, std::int64_t position) {
    return std::min(rows, kPagePositions - static_cast<int>(position % kPagePositions));
  }

  void Score(int rows, const ScoreArgs& s) {
    Enter(rows);
    const std::byte* const* const next = rows <= kPrefetchingRows ? s.next_keys : nullptr;
    Tiles::Score(reinterpret_cast<const std::byte*>(s.q), s.q_stride * kFloatBytes, s.keys, next,
                 s.pages, s.dim, reinterpret_cast<std::byte*>(s.scores),
                 kBlockPositions * kFloatBytes);
  }

  void Weigh(int rows, const WeighArgs& w) {
    for (int r = 0; r < rows; ++r)
      if (w.rescale[r] != 1.0F) Rescale(w.rescale[r], w.stride, w.o + r * w.stride);
    if (w.last == 0) return;
    Enter(rows);
    const std::byte* const* const next = rows <= kPrefetchingRows ? w.next_values : nullptr;
    Tiles::Weigh(reinterpret_cast<const std::byte*>(w.weights[0]), kBlockPositions * kFloatBytes,
                 w.values, next, w.last / kPagePositions, w.stride,
                 reinterpret_cast<std::byte*>(w.o));
  }

 private:
  using Tiles = AmxAttention<AmxTiles>;
  static constexpr std::int64_t kFloatBytes = sizeof(float);

  void Enter(int rows) {
    if (rows == rows_) return;
    Tiles::Configure(rows);
    rows_ = rows;
  }

  static void Rescale(float factor, std::int64_t stride, float* o) {
    for (std::int64_t d = 0; d < stride; d += kLanes)
      hn::Store(hn::Mul(hn::Set(F(), factor), hn::Load(F(), o + d)), F(), o + d);
  }

  int rows_ = 0;  // that the tiles are configured for
};

void AttendDots(const AttendArgs& args) { BlockPass<Bf16Dots>(args).Run(); }

void AttendTiles(const AttendArgs& args) {
  if (args.dim % kLine != 0) return AttendDots(args);
  BlockPass<TileProducts>(args).Run();
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // HWY_AVX3

#if HWY_ONCE
namespace codegen::cpu {

void AddAttentionDot([[maybe_unused]] Kernels& kernels) {
#if HWY_TARGETS & HWY_AVX3
  if (kernels.level == CpuFeatures::kAvx512Bf16) kernels.kv_bf16_fast.attend = N_AVX3::AttendDots;
  if (kernels.level != CpuFeatures::kAmx) return;
  kernels.kv_bf16_fast.attend = N_AVX3::AttendTiles;
  kernels.kv_bf16_fast.attend_rows = kAttendRows;
#endif
}

}  // namespace codegen::cpu
#endif
