// SPDX-License-Identifier: Apache-2.0
//
// Attention (attention.cc) over a bf16 cache by vdpbf16ps: two products per lane, of pairs of dims
// for scores and of pairs of positions for outputs. In intrinsics, because Highway 1.0 has none.
//
// The bits are a contract of their own: queries and weights are rounded to bf16, the sums of
// weights take them as rounded, the product of the odd dim or position is added first, denormals
// are taken as zero. Pages keep their layout; pairs are interleaved as they are loaded, one shuffle
// for up to 12 dot products.
// GCC 12 takes the undefined registers inside its own AVX-512 intrinsics for a mistake of ours.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention_dot.cc"
#include <hwy/foreach_target.h>
//
#include <cstring>

#include "cpu/attention-inl.h"

#if HWY_TARGET == HWY_AVX3

#include <immintrin.h>

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

// [2][16] elements to [16][2].
HWY_INLINE __m512bh Interleave(__m512i rows) {
  const __m512i places =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                       21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return (__m512bh)_mm512_permutexvar_epi16(places, rows);
}

HWY_INLINE __m512bh InterleaveRows(const std::byte* first, __m256i second) {
  const __m256i one = _mm256_load_si256(reinterpret_cast<const __m256i*>(first));
  return Interleave(_mm512_inserti64x4(_mm512_castsi256_si512(one), second, 1));
}

HWY_INLINE __m256i RowAt(const std::byte* row) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(row));
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
HWY_NOINLINE void ScoreDots(const std::byte* q, std::int64_t q_stride, const std::byte* const* keys,
                            std::int64_t dim, float* scores) {
  __m512 acc[kRows][kPages];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p) acc[r][p] = _mm512_setzero_ps();
  }
  const std::byte* page[kPages];
#pragma GCC unroll 4
  for (int p = 0; p < kPages; ++p) page[p] = keys[p];
  for (std::int64_t pair = 0; pair < dim / 2; ++pair) {
    __m512bh k[kPages];
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p)
      k[p] = Interleave(_mm512_load_si512(static_cast<const void*>(page[p] + pair * 64)));
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m512bh broadcast = Broadcast(q + r * q_stride + pair * kPairBytes);
#pragma GCC unroll 4
      for (int p = 0; p < kPages; ++p) acc[r][p] = _mm512_dpbf16_ps(acc[r][p], k[p], broadcast);
    }
  }
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
    const std::byte* const values =
        w.values[first / kPagePositions] + (first % kPagePositions * stride + column) * 2;
    const bool paired = first + 1 < w.last;
    __m512bh value[kLines];
#pragma GCC unroll 4
    for (int v = 0; v < kLines; ++v) {
      const std::byte* const line = values + v * 32;
      value[v] = InterleaveRows(line, paired ? RowAt(line + stride * 2) : _mm256_setzero_si256());
    }
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m512bh weight = Broadcast(weights + r * kBlockPositions * 4);
#pragma GCC unroll 4
      for (int v = 0; v < kLines; ++v) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], value[v], weight);
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

struct Bf16Dots {
  using Element = std::uint16_t;

  static void PrepareQueries(const AttendArgs& a) { RoundRows(a.q, a.rows, RoundUpToLine(a.dim)); }

  template <int kRows, int kPages>
  static HWY_INLINE void Score(const float* q, std::int64_t q_stride, const std::byte* const* keys,
                               std::int64_t dim, float* scores) {
    ScoreDots<kRows, kPages>(reinterpret_cast<const std::byte*>(q), q_stride * 4, keys, dim,
                             scores);
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

  template <int kRows>
  static void Weigh(const WeighArgs& w) {
    constexpr int kLines = LinesPerTile(kRows);
    std::int64_t column = 0;
    for (; column + kLines * kLine <= w.stride; column += kLines * kLine)
      WeighDots<kRows, kLines>(w, column);
    for (; column < w.stride; column += kLine) WeighDots<kRows, 1>(w, column);
  }
};

void AttendDots(const AttendArgs& args) { BlockPass<Bf16Dots>(args).Run(); }

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // HWY_AVX3

#if HWY_ONCE
namespace codegen::cpu {

void AddAttentionDot([[maybe_unused]] Kernels& kernels) {
#if HWY_TARGETS & HWY_AVX3
  // Not at kAmx: vdpbf16ps takes 2.2 cycles on the CPUs that have AMX, two f32 multiply-adds one.
  if (kernels.level == CpuFeatures::kAvx512Bf16) kernels.kv_bf16_fast.attend = N_AVX3::AttendDots;
#endif
}

}  // namespace codegen::cpu
#endif
