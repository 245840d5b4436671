// SPDX-License-Identifier: Apache-2.0
//
// The loops behind machine.h, for every instruction set: reading memory as fast as it comes, and
// multiply-adds that touch registers only (12 independent chains: more than latency times width of
// any CPU, fewer than the registers of the smallest instruction set).
#include "cpu/machine_kernels.h"

#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/machine_kernels.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>

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
    hwy::Prefetch(values + i + 1024);
    HWY_UNROLL(4)
    for (int j = 0; j < 4; ++j) sums[j] = hn::Add(sums[j], hn::Load(f, values + i + j * kLanes));
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

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#if HWY_ARCH_X86 && !HWY_COMPILER_MSVC
#include <immintrin.h>
#endif

namespace codegen::cpu {

HWY_EXPORT(Sum);
HWY_EXPORT(ChainsF32);
HWY_EXPORT(ChainsBf16Widened);

float SumFloats(const float* values, std::int64_t count) {
  return HWY_DYNAMIC_DISPATCH(Sum)(values, count);
}

double RunF32Chains(std::int64_t rounds, float factor, float& sink) {
  return HWY_DYNAMIC_DISPATCH(ChainsF32)(rounds, factor, sink);
}

#if HWY_ARCH_X86 && !HWY_COMPILER_MSVC

// Highway 1.0 has no bf16 dot product: the one instruction is spelled out.
__attribute__((target("avx512f,avx512bf16"))) static double ChainsBf16Dot(std::int64_t rounds,
                                                                          float factor,
                                                                          float& sink) {
  constexpr int kDots = 12;
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

double RunBf16Chains(std::int64_t rounds, float factor, float& sink) {
  if (IsaName() == "AVX3" && __builtin_cpu_supports("avx512bf16"))
    return ChainsBf16Dot(rounds, factor, sink);
  return HWY_DYNAMIC_DISPATCH(ChainsBf16Widened)(rounds, factor, sink);
}

#else

double RunBf16Chains(std::int64_t rounds, float factor, float& sink) {
  return HWY_DYNAMIC_DISPATCH(ChainsBf16Widened)(rounds, factor, sink);
}

#endif

}  // namespace codegen::cpu
#endif
