// SPDX-License-Identifier: Apache-2.0
// GCC 12 takes the undefined registers inside its own AVX-512 intrinsics for a mistake of ours.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "cpu/linear_amx.h"

#include "cpu/kernels.h"
#include "cpu/linear_int4_amx.h"
#include "cpu/targets.h"
//
#include <hwy/highway.h>

#if HWY_ARCH_X86

#include <immintrin.h>

#include <cstring>

#include "cpu/amx_tiles.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")
namespace codegen::cpu {
namespace {

struct Avx512Lines {
  static void Unpack(const std::byte* group, std::byte* lines) {
    const __m512i low = _mm512_set1_epi8(0x0F);
#pragma GCC unroll 4
    for (int line = 0; line < kInt4GroupLines; ++line) {
      const std::byte* const nibbles = group + line * kLineBytes;
      const __m512i both = _mm512_load_si512(nibbles);
      std::byte* const out = lines + 2 * line * kLineBytes;
      _mm512_store_si512(out, _mm512_and_si512(both, low));
      _mm512_store_si512(out + kLineBytes, _mm512_and_si512(_mm512_srli_epi16(both, 4), low));
    }
  }

  // Not fused, as on every level.
  static void Scale(const Int4ScaleArgs& args) {
    const __m512i halves = _mm512_load_si512(args.scales);
    const __m512 scale = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
    const __m512 minimum = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
    const std::byte* x_sum = args.x_sums;
    const std::byte* product = args.products;
    std::byte* sum = args.sums;
    for (std::int64_t row = 0; row < args.rows; ++row) {
      float x;
      std::memcpy(&x, x_sum, sizeof(x));
      const __m512 steps = _mm512_cvtepi32_ps(_mm512_load_si512(product));
      const __m512 before =
          _mm512_add_ps(_mm512_load_ps(sum), _mm512_mul_ps(minimum, _mm512_set1_ps(x)));
      _mm512_store_ps(sum, _mm512_add_ps(before, _mm512_mul_ps(steps, scale)));
      x_sum += args.x_stride;
      product += args.stride;
      sum += args.stride;
    }
  }
};

}  // namespace
}  // namespace codegen::cpu
HWY_POP_ATTRIBUTES

namespace codegen::cpu {

void AddLinearAmx(Kernels& kernels) {
  if (kernels.level < CpuFeatures::kAmx) return;
  AmxLinear<AmxTiles, Activations::kInt8>::Take(kernels.linear_int8_fast, 5);
  AmxLinear<AmxTiles, Activations::kBf16>::Take(kernels.linear_bf16_fast, 1);
  AmxInt4Linear<AmxTiles, Avx512Lines>::Take(kernels.linear_int4_fast, 10);
}

}  // namespace codegen::cpu

#else

namespace codegen::cpu {
void AddLinearAmx(Kernels&) {}
}  // namespace codegen::cpu

#endif
