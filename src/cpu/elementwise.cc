// SPDX-License-Identifier: Apache-2.0
//
// The operations that look at one element at a time: SwiGlu y = silu(gate) up, Add y += x, and the
// widening of an embedding row to f32. Rows of f32 in whole lines; the thread owns the row. Bound
// by the load ports while in L2: 12 bytes moved per element of SwiGlu and Add, 6 per widened one.
// Best measured (one of 2 vCPUs of an AMD EPYC (Zen 4), shared, 2026-11-22): SwiGlu 2.1
// elements/ns.
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/elementwise.cc"
#include <hwy/foreach_target.h>
//
#include "cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

void SwiGlu(const float* gate, const float* up, std::int64_t count, float* y) {
  const F f;
  for (std::int64_t i = 0; i < count; i += kLanes)
    hn::Store(hn::Mul(Silu(hn::Load(f, gate + i)), hn::LoadU(f, up + i)), f, y + i);
}

void Add(const float* x, std::int64_t count, float* y) {
  const F f;
  for (std::int64_t i = 0; i < count; i += kLanes)
    hn::Store(hn::Add(hn::Load(f, y + i), hn::Load(f, x + i)), f, y + i);
}

void WidenF32(const std::byte* x, std::int64_t count, float* y) {
  const F f;
  const auto* floats = reinterpret_cast<const float*>(x);
  for (std::int64_t i = 0; i < count; i += kLanes) hn::Store(hn::Load(f, floats + i), f, y + i);
}

void WidenBf16(const std::byte* x, std::int64_t count, float* y) {
  const F f;
  const hn::Rebind<hwy::bfloat16_t, F> half;
  const auto* halves = reinterpret_cast<const hwy::bfloat16_t*>(x);
  for (std::int64_t i = 0; i < count; i += kLanes)
    hn::Store(hn::PromoteTo(f, hn::Load(half, halves + i)), f, y + i);
}

void WidenF16(const std::byte* x, std::int64_t count, float* y) {
  const F f;
  const hn::Rebind<hwy::float16_t, F> half;
  const auto* halves = reinterpret_cast<const hwy::float16_t*>(x);
  for (std::int64_t i = 0; i < count; i += kLanes)
    hn::Store(hn::PromoteTo(f, hn::Load(half, halves + i)), f, y + i);
}

void WidenInt8(const std::byte* x, float scale, std::int64_t count, float* y) {
  const F f;
  const hn::Rebind<std::int8_t, F> bytes;
  const I i;
  const auto* elements = reinterpret_cast<const std::int8_t*>(x);
  const V factor = hn::Set(f, scale);
  for (std::int64_t k = 0; k < count; k += kLanes) {
    const V q = hn::ConvertTo(f, hn::PromoteTo(i, hn::Load(bytes, elements + k)));
    hn::Store(hn::Mul(q, factor), f, y + k);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(SwiGlu);
HWY_EXPORT(Add);
HWY_EXPORT(WidenF32);
HWY_EXPORT(WidenBf16);
HWY_EXPORT(WidenF16);
HWY_EXPORT(WidenInt8);

void AddElementwise(Kernels& kernels) {
  kernels.swiglu = CODEGEN_VERSION_FOR(kernels.level, SwiGlu);
  kernels.add = CODEGEN_VERSION_FOR(kernels.level, Add);
  kernels.widen_f32 = CODEGEN_VERSION_FOR(kernels.level, WidenF32);
  kernels.widen_bf16 = CODEGEN_VERSION_FOR(kernels.level, WidenBf16);
  kernels.widen_f16 = CODEGEN_VERSION_FOR(kernels.level, WidenF16);
  kernels.widen_int8 = CODEGEN_VERSION_FOR(kernels.level, WidenInt8);
}

}  // namespace codegen::cpu
#endif
