// SPDX-License-Identifier: Apache-2.0
//
// Tiles of Linear (linear.h) for CPUs with AVX-512 dot products: int8 and int4 weights with
// vpdpbusd (four u8 s8 products per lane), bf16 weights with vdpbf16ps (two products per lane). In
// intrinsics, because Highway 1.0 has neither.
//
// Sums of int8 and int4 have the bits of every other level. Those of bf16 are a contract of their
// own: activations rounded to bf16, pairs of inputs added to one chain per output in ascending
// order, denormals taken as zero.
//
// Bytes moved per call with few rows: panels x panel_bytes, once; x from L1.
// GCC 12 takes the undefined registers inside its own AVX-512 intrinsics for a mistake of ours.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "cpu/prefetch.h"
#include "cpu/targets.h"
//
#include <hwy/highway.h>

#include "quant/format.h"

#if HWY_ARCH_X86

#include <immintrin.h>

#include <cstring>

// One list of attributes for all: no compiler makes bf16 instructions of its own accord.
HWY_PUSH_ATTRIBUTES(
    "avx2,fma,f16c,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx512bf16")
namespace codegen::cpu {
namespace {

constexpr int kSlabPanels = 2;

// Panels side by side in a tile of so few rows that w comes from memory.
constexpr int PanelsFor(int rows, int accumulators) {
  int panels = 8;
  while (panels * rows > (rows <= 2 ? 16 : accumulators)) panels /= 2;
  return panels;
}

HWY_INLINE __m512i LineAt(const std::byte* line) {
  return _mm512_load_si512(static_cast<const void*>(line));
}

HWY_INLINE __m512i Broadcast(const std::byte* dword) {
  std::int32_t value;
  std::memcpy(&value, dword, sizeof(value));
  return _mm512_set1_epi32(value);
}

HWY_INLINE __m512i* SumAt(const TileArgs& t, int place) {
  return reinterpret_cast<__m512i*>(t.sums + place * kLineBytes);
}

// vpdpbusd: adds four products of u8 weights and s8 activations to each lane.
struct Int8Dots {
  static constexpr int kElementBytes = 1;
  using Sum = __m512i;
  static HWY_INLINE Sum Zero() { return _mm512_setzero_si512(); }
  static HWY_INLINE Sum Load(const __m512i* memory) { return _mm512_load_si512(memory); }
  static HWY_INLINE void Store(__m512i* memory, Sum sum) { _mm512_store_si512(memory, sum); }
  static HWY_INLINE Sum Add(Sum sum, __m512i w, __m512i x) {
    return _mm512_dpbusd_epi32(sum, w, x);
  }
};

// vdpbf16ps: adds two products of bf16 to each lane, the one of the odd input first.
struct Bf16Dots {
  static constexpr int kElementBytes = 2;
  using Sum = __m512;
  static HWY_INLINE Sum Zero() { return _mm512_setzero_ps(); }
  static HWY_INLINE Sum Load(const __m512i* memory) { return _mm512_load_ps(memory); }
  static HWY_INLINE void Store(__m512i* memory, Sum sum) { _mm512_store_ps(memory, sum); }
  static HWY_INLINE Sum Add(Sum sum, __m512i w, __m512i x) {
    return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x);
  }
};

// A line of weights for each of P panels beside a dword of activations for each of R rows.
template <class Dots, int kPanels, int kRows>
HWY_INLINE void AddLine(const std::byte* x, std::int64_t x_stride, const __m512i (&w)[kPanels],
                        typename Dots::Sum (&sums)[kRows][kPanels]) {
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
    const __m512i row = Broadcast(x + r * x_stride);
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) sums[r][p] = Dots::Add(sums[r][p], w[p], row);
  }
}

template <class Dots>
struct DenseTile {
  static constexpr int kAccumulators = 24;  // of 32 registers

  template <int kPanels, int kRows>
  static HWY_NOINLINE void Run(const TileArgs& t) {
    typename Dots::Sum sums[kRows][kPanels];
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p)
        sums[r][p] = t.resume ? Dots::Load(SumAt(t, r * kPanels + p)) : Dots::Zero();
    }
    const std::int64_t x_stride = t.x_stride;
    const std::int64_t panel_bytes = t.panel_bytes;
    const std::byte* line = t.panels;
    const std::byte* x = t.x;
    for (const std::byte* const end = x + t.inputs * Dots::kElementBytes; x < end;
         x += 4, line += kLineBytes) {
      __m512i w[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        PrefetchWeights<kPanels>(line + p * panel_bytes);
        w[p] = LineAt(line + p * panel_bytes);
      }
      AddLine<Dots>(x, x_stride, w, sums);
    }
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) Dots::Store(SumAt(t, r * kPanels + p), sums[r][p]);
    }
  }
};

// Int4 in groups: integer sums inside, float sums across them in memory.
struct Int4Tile {
  static constexpr int kAccumulators = 20;  // with more the compiler spills some

  static constexpr std::int64_t kGroup = quant::kInt4Group;

  template <int kPanels, int kRows>
  static HWY_NOINLINE void Run(const TileArgs& t) {
    auto* const memory = reinterpret_cast<float*>(t.sums);
    if (!t.resume) {
#pragma GCC unroll 24
      for (int i = 0; i < kRows * kPanels; ++i)
        _mm512_store_ps(memory + i * kLine, _mm512_setzero_ps());
    }
    TileArgs group = t;
    for (std::int64_t k = 0; k < t.inputs; k += kGroup) {
      __m512i sums[kRows][kPanels];
      Multiply(group, sums);
      Scale(group, sums, memory);
      group.x += kGroup;
      group.panels += kInt4GroupBytes;
      group.group_sums += sizeof(float);
    }
  }

 private:
  template <int kPanels, int kRows>
  static HWY_INLINE void Multiply(const TileArgs& t, __m512i (&sums)[kRows][kPanels]) {
    const __m512i low = _mm512_set1_epi8(0x0F);
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) sums[r][p] = _mm512_setzero_si512();
    }
    const std::int64_t panel_bytes = t.panel_bytes;
    const std::byte* line = t.panels;
    const std::byte* x = t.x;
    for (const std::byte* const end = x + kGroup; x < end; x += 8, line += kLineBytes) {
      __m512i first[kPanels], second[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        PrefetchWeights<kPanels>(line + p * panel_bytes);
        const __m512i both = LineAt(line + p * panel_bytes);
        first[p] = _mm512_and_si512(both, low);
        second[p] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
      }
      AddLine<Int8Dots>(x, t.x_stride, first, sums);
      AddLine<Int8Dots>(x + 4, t.x_stride, second, sums);
    }
  }

  // memory += minimum (sum of x) + scale (sum of q x); not fused, as on every level.
  template <int kPanels, int kRows>
  static HWY_INLINE void Scale(const TileArgs& t, const __m512i (&sums)[kRows][kPanels],
                               float* memory) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      const __m512i halves = LineAt(t.panels + p * t.panel_bytes + kInt4GroupLines * kLineBytes);
      const __m512 scale = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
      const __m512 minimum = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
#pragma GCC unroll 24
      for (int r = 0; r < kRows; ++r) {
        const __m512 x_sum = _mm512_castsi512_ps(Broadcast(t.group_sums + r * t.x_stride));
        float* place = memory + (r * kPanels + p) * kLine;
        const __m512 before = _mm512_add_ps(_mm512_load_ps(place), _mm512_mul_ps(minimum, x_sum));
        _mm512_store_ps(
            place, _mm512_add_ps(before, _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][p]), scale)));
      }
    }
  }
};

}  // namespace
}  // namespace codegen::cpu
HWY_POP_ATTRIBUTES

// From here on for every CPU.
namespace codegen::cpu {
namespace {

template <class Tile, int kRows>
void FillTiles(LinearKernel& kernel) {
  constexpr int kPanels = PanelsFor(kRows, Tile::kAccumulators);
  if constexpr (kRows * kSlabPanels <= Tile::kAccumulators)
    kernel.slab[kRows] = &Tile::template Run<kSlabPanels, kRows>;
  kernel.few[kRows] = &Tile::template Run<kPanels, kRows>;
  kernel.few_panels[kRows] = kPanels;
  if constexpr (kRows > 1) FillTiles<Tile, kRows - 1>(kernel);
}

// Keeps format, layout and finish of `kernel`.
template <class Tile>
void Replace(LinearKernel& kernel, std::int64_t block_inputs) {
  kernel.block_inputs = block_inputs;
  kernel.tile_rows = Tile::kAccumulators / kSlabPanels;
  kernel.few_rows = Tile::kAccumulators;  // of one panel at a time
  kernel.slab_panels = kSlabPanels;
  FillTiles<Tile, Tile::kAccumulators>(kernel);
}

}  // namespace

void AddLinearDot(Kernels& kernels) {
  if (kernels.level < CpuFeatures::kAvx512Vnni) return;
  Replace<DenseTile<Int8Dots>>(kernels.linear_int8_fast, 1024);
  Replace<Int4Tile>(kernels.linear_int4_fast, 1024);
  if (kernels.level != CpuFeatures::kAvx512Bf16) return;
  kernels.linear_bf16_fast.activations = Activations::kBf16;
  Replace<DenseTile<Bf16Dots>>(kernels.linear_bf16_fast, 512);
}

}  // namespace codegen::cpu

#else

namespace codegen::cpu {
void AddLinearDot(Kernels&) {}
}  // namespace codegen::cpu

#endif
