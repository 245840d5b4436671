// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of the kernels: a line of 16 floats in however many vectors the instruction set
// needs for it, the exponential, rounding to bf16, the largest magnitude. Compiled once per
// instruction set.
#if defined(CODEGEN_CPU_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CODEGEN_CPU_VECTORS_INL_H_
#undef CODEGEN_CPU_VECTORS_INL_H_
#else
#define CODEGEN_CPU_VECTORS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "cpu/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::CappedTag<float, 16>;
using I = hn::RebindToSigned<F>;
using U = hn::RebindToUnsigned<F>;
using V = hn::Vec<F>;

constexpr std::int64_t kLanes = hn::MaxLanes(F());
constexpr int kVectors = static_cast<int>(kLine / kLanes);  // vectors in a line

// exp(x), within 2 units in the last place where the result is normal; below 2^-126 it is about
// 2^-126, from 88.02 on 1.7e38. exp(0) is exactly 1; NaN stays NaN.
//
// x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 q(r), q of degree 4 by Remez' exchange
// for the least relative error (3e-9); then n is added to the exponent. Rounded by adding a number
// so large that the sum's last bit is worth 1, n stands in the low bits of that sum, the exponent's
// bias with it.
HWY_INLINE V Exp(V x) {
  const F f;
  const U u;
  // Operand order: x86 returns the second one if either is NaN.
  x = hn::Min(hn::Set(f, 88.02F), hn::Max(hn::Set(f, -87.33F), x));
  const V rounder = hn::Set(f, 0x1.8p23F + 127);
  const V sum = hn::MulAdd(x, hn::Set(f, 1.44269504F), rounder);
  const V n = hn::Sub(sum, rounder);
  V r = hn::NegMulAdd(n, hn::Set(f, 0.693145752F), x);  // 16 bits: exact products without FMA too
  r = hn::NegMulAdd(n, hn::Set(f, 1.42860682e-6F), r);
  V q = hn::Set(f, 0.001381454F);
  q = hn::MulAdd(q, r, hn::Set(f, 0.008368745F));
  q = hn::MulAdd(q, r, hn::Set(f, 0.04166839F));
  q = hn::MulAdd(q, r, hn::Set(f, 0.16666521F));
  q = hn::MulAdd(q, r, hn::Set(f, 0.49999994F));
  const V p = hn::Add(hn::MulAdd(hn::Mul(q, r), r, r), hn::Set(f, 1.0F));
  return hn::Mul(p, hn::BitCast(f, hn::ShiftLeft<23>(hn::BitCast(u, sum))));
}

// v / (1 + exp(-v)).
HWY_INLINE V Silu(V v) {
  const F f;
  return hn::Div(v, hn::Add(hn::Set(f, 1.0F), Exp(hn::Neg(v))));
}

// v (1 + tanh(u)) / 2 = v / (1 + exp(-2u)), u = sqrt(2/pi) (v + 0.044715 v^3).
HWY_INLINE V Gelu(V v) {
  const F f;
  constexpr float kTwice = -1.59576912F;  // -2 sqrt(2/pi)
  const V factor = hn::MulAdd(hn::Mul(v, v), hn::Set(f, 0.044715F * kTwice), hn::Set(f, kTwice));
  return hn::Div(v, hn::Add(hn::Set(f, 1.0F), Exp(hn::Mul(v, factor))));
}

// The sum of a line by halves: lane i takes lane i + 8, then + 4, + 2, + 1; the same tree on every
// instruction set.
HWY_INLINE float SumOfLine(const V (&line)[kVectors]) {
  HWY_ALIGN float lanes[kLine];
  for (int v = 0; v < kVectors; ++v) hn::Store(line[v], F(), lanes + v * kLanes);
  for (std::size_t half = kLine / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

// bf16, rounded to nearest even; NaN becomes quiet: tensor::Bf16FromFloat.
HWY_INLINE auto RoundToBf16(V value) {
  const U u;
  const auto bits = hn::BitCast(u, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(u, 0x7FFF)));
  const auto quiet = hn::Or(bits, hn::Set(u, 0x400000));
  const V result =
      hn::IfThenElse(hn::IsNaN(value), hn::BitCast(F(), quiet), hn::BitCast(F(), rounded));
  const auto high = hn::ShiftRight<16>(hn::BitCast(u, result));
  return hn::DemoteTo(hn::Rebind<std::uint16_t, F>(), hn::BitCast(I(), high));
}

// The bits of infinity: those of NaN are greater, all others less.
constexpr std::uint32_t kInfinity = 0x7F800000U;

// The largest magnitude, as its bits, among `count` floats in the vectors load(k), which are zero
// beyond them.
template <class Load>
HWY_INLINE std::uint32_t LargestMagnitude(std::int64_t count, const Load& load) {
  const I i;
  const auto magnitude = hn::Set(i, 0x7FFFFFFF);
  auto largest = hn::Zero(i);
  for (std::int64_t k = 0; k < count; k += kLanes)
    largest = hn::Max(largest, hn::And(magnitude, hn::BitCast(i, load(k))));
  return static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(i, largest)));
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // CODEGEN_CPU_VECTORS_INL_H_
