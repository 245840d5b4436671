// SPDX-License-Identifier: Apache-2.0
//
// The loops behind machine.h, for every instruction set: reading memory as fast as it comes, and
// multiply-adds that touch registers only (12 independent chains: more than latency times width of
// any CPU, fewer than the registers of the smallest instruction set; of AMX tiles, four).
#include "cpu/machine_kernels.h"

#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/machine_kernels.cc"
#include <hwy/foreach_target.h>
//
#include "cpu/prefetch.h"
#include "cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

constexpr int kChains = 12;

float Sum(const float* values, std::int64_t count) {
  const F f;
  constexpr std::int64_t kSpan = 4 * kLanes;
  V sums[4];
  for (V& sum : sums) sum = hn::Zero(f);
  for (std::int64_t i = 0; i + kSpan <= count; i += kSpan) {
    HWY_UNROLL(4)
    for (int j = 0; j < 4; ++j) {
      const float* const vector = values + i + j * kLanes;
      PrefetchWeights<4>(reinterpret_cast<const std::byte*>(vector));
      sums[j] = hn::Add(sums[j], hn::Load(f, vector));
    }
  }
  return hn::GetLane(
      hn::SumOfLanes(f, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
}

// Every chain tends to 0.5 / (1 - factor).
double ChainsF32(std::int64_t rounds, float factor, float& sink) {
  const F f;
  const V a = hn::Set(f, factor);
  const V b = hn::Set(f, 0.5F);
  V acc[kChains];
  HWY_UNROLL(12)
  for (int i = 0; i < kChains; ++i) acc[i] = hn::Set(f, static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
    HWY_UNROLL(12)
    for (int i = 0; i < kChains; ++i) acc[i] = hn::MulAdd(acc[i], a, b);
  }
  for (int i = 1; i < kChains; ++i) acc[0] = hn::Add(acc[0], acc[i]);
  sink = hn::GetLane(hn::SumOfLanes(f, acc[0]));
  return 2.0 * kChains * static_cast<double>(kLanes) * static_cast<double>(rounds);
}

// A pair of bf16 per lane is widened and multiplied into two chains; the pair changes from round to
// round, as new weights would.
double ChainsBf16Widened(std::int64_t rounds, float factor, float& sink) {
  const F f;
  const U u;
  const V a = hn::Set(f, factor);
  V acc[kChains];
  HWY_UNROLL(12)
  for (int i = 0; i < kChains; ++i) acc[i] = hn::Set(f, static_cast<float>(i));
  auto pair = hn::BitCast(u, a);
  for (std::int64_t round = 0; round < rounds; ++round) {
    HWY_UNROLL(12)
    for (int i = 0; i < kChains; i += 2) {
      acc[i] = hn::MulAdd(a, hn::BitCast(f, hn::ShiftLeft<16>(pair)), acc[i]);
      acc[i + 1] =
          hn::MulAdd(a, hn::BitCast(f, hn::And(pair, hn::Set(u, 0xFFFF0000U))), acc[i + 1]);
      pair = hn::Xor(pair, hn::Set(u, 0x00010001U));
    }
  }
  for (int i = 1; i < kChains; ++i) acc[0] = hn::Add(acc[0], acc[i]);
  sink = hn::GetLane(hn::SumOfLanes(f, acc[0]));
  return 2.0 * kChains * static_cast<double>(kLanes) * static_cast<double>(rounds);
}

// What int8 is multiplied with below the levels that have dot products of it, as in
// linear_int-inl.h: pairs of 16-bit numbers on x86 (vpmaddwd, four operations), else 32-bit ones.
HWY_INLINE hn::Vec<I> AddInt16Products(hn::Vec<I> a, hn::Vec<I> sum) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
  const hn::Repartition<std::int16_t, F> words;
  auto unused = hn::Zero(I());
  return hn::ReorderWidenMulAccumulate(I(), hn::BitCast(words, a), hn::BitCast(words, sum), sum,
                                       unused);
#else
  return hn::Add(sum, hn::Mul(a, sum));
#endif
}

double ChainsInt16(std::int64_t rounds, float factor, float& sink) {
  const I i;
  const auto a = hn::Set(i, static_cast<std::int32_t>(factor * 8) * 0x10001);
  hn::Vec<I> acc[kChains];
  HWY_UNROLL(12)
  for (int c = 0; c < kChains; ++c) acc[c] = hn::Set(i, c);
  for (std::int64_t round = 0; round < rounds; ++round) {
    HWY_UNROLL(12)
    for (int c = 0; c < kChains; ++c) acc[c] = AddInt16Products(a, acc[c]);
  }
  for (int c = 1; c < kChains; ++c) acc[0] = hn::Add(acc[0], acc[c]);
  sink = static_cast<float>(hn::GetLane(acc[0]));
  constexpr double kOperations = HWY_ARCH_X86 && kLanes > 1 ? 4 : 2;
  return kOperations * kChains * static_cast<double>(kLanes) * static_cast<double>(rounds);
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"
#include "cpu/machine_kernels.h"

#if HWY_ARCH_X86
#include <immintrin.h>

#include <array>
#include <cstring>

#include "cpu/amx_tiles.h"
#include "cpu/linear.h"

// Highway 1.0 has no dot products: the two instructions are spelled out.
HWY_PUSH_ATTRIBUTES(
    "avx2,fma,f16c,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx512bf16")
namespace codegen::cpu {
namespace {

constexpr int kDots = 12;

double ChainsBf16Dot(std::int64_t rounds, float factor, float& sink) {
  const __m512bh a = (__m512bh)_mm512_castps_si512(_mm512_set1_ps(factor));
  __m512 acc[kDots];
#pragma GCC unroll 12
  for (int i = 0; i < kDots; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kDots; ++i) acc[i] = _mm512_dpbf16_ps(acc[i], a, a);
  }
  for (int i = 1; i < kDots; ++i) acc[0] = _mm512_add_ps(acc[0], acc[i]);
  sink = _mm512_reduce_add_ps(acc[0]);
  return 2.0 * kDots * 32 * static_cast<double>(rounds);
}

double ChainsInt8Dot(std::int64_t rounds, float factor, float& sink) {
  const __m512i a = _mm512_set1_epi8(static_cast<char>(factor * 8));
  __m512i acc[kDots];
#pragma GCC unroll 12
  for (int i = 0; i < kDots; ++i) acc[i] = _mm512_set1_epi32(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kDots; ++i) acc[i] = _mm512_dpbusd_epi32(acc[i], a, a);
  }
  for (int i = 1; i < kDots; ++i) acc[0] = _mm512_add_epi32(acc[0], acc[i]);
  sink = static_cast<float>(_mm512_reduce_add_epi32(acc[0]));
  return 2.0 * kDots * 64 * static_cast<double>(rounds);
}

}  // namespace
}  // namespace codegen::cpu
HWY_POP_ATTRIBUTES

namespace codegen::cpu {
namespace {

template <Activations kElements, int tile>
void AddTileProduct() {
  if constexpr (kElements == Activations::kInt8) {
    AmxTiles::AddInt8Product<tile, 4, 6>();
  } else {
    AmxTiles::AddBf16Product<tile, 4, 6>();
  }
}

// Four chains: a product takes 16 cycles and is ready after 52. An eighth of the rounds, for as
// long a task as the others.
template <Activations kElements>
double ChainsTiles(std::int64_t rounds, float factor, float& sink) {
  alignas(64) std::array<std::byte, 1024> memory;
  const auto eight = std::byte{static_cast<std::uint8_t>(factor * 8)};
  memory.fill(kElements == Activations::kInt8 ? eight : std::byte{0x3E});  // bf16: 0.186
  AmxTiles::Configure(ConfigFor(kTileHeight));
  AmxTiles::Load<4>(memory.data(), kTileRowBytes);
  AmxTiles::Load<6>(memory.data(), kTileRowBytes);
  for (std::int64_t round = 0; round < rounds / 8; ++round) {
    AddTileProduct<kElements, 0>();
    AddTileProduct<kElements, 1>();
    AddTileProduct<kElements, 2>();
    AddTileProduct<kElements, 3>();
  }
  AmxTiles::Store<0>(memory.data(), kTileRowBytes);
  AmxTiles::Release();
  std::memcpy(&sink, memory.data(), sizeof(sink));
  constexpr double kInputs = kElements == Activations::kInt8 ? 64 : 32;
  return 2.0 * 4 * 16 * 16 * kInputs * static_cast<double>(rounds / 8);
}

}  // namespace
}  // namespace codegen::cpu
#endif

namespace codegen::cpu {

HWY_EXPORT(Sum);
HWY_EXPORT(ChainsF32);
HWY_EXPORT(ChainsBf16Widened);
HWY_EXPORT(ChainsInt16);

MachineKernels MachineKernelsOf(CpuFeatures level) {
  MachineKernels kernels{.sum = CODEGEN_VERSION_FOR(level, Sum),
                         .f32 = CODEGEN_VERSION_FOR(level, ChainsF32),
                         .bf16 = CODEGEN_VERSION_FOR(level, ChainsBf16Widened),
                         .int8 = CODEGEN_VERSION_FOR(level, ChainsInt16)};
#if HWY_ARCH_X86
  if (level >= CpuFeatures::kAvx512Vnni) kernels.int8 = &ChainsInt8Dot;
  if (level >= CpuFeatures::kAvx512Bf16) kernels.bf16 = &ChainsBf16Dot;
  if (level >= CpuFeatures::kAmx) {
    kernels.int8 = &ChainsTiles<Activations::kInt8>;
    kernels.bf16 = &ChainsTiles<Activations::kBf16>;
  }
#endif
  return kernels;
}

}  // namespace codegen::cpu
#endif
