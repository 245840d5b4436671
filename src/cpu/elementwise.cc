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

const char* TargetHere() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace codegen::cpu {

HWY_EXPORT(SwiGlu);
HWY_EXPORT(Add);
HWY_EXPORT(WidenF32);
HWY_EXPORT(WidenBf16);
HWY_EXPORT(WidenF16);
HWY_EXPORT(TargetHere);

void SwiGluRow(const float* gate, const float* up, std::int64_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(SwiGlu)(gate, up, count, y);
}

void AddRow(const float* x, std::int64_t count, float* y) {
  HWY_DYNAMIC_DISPATCH(Add)(x, count, y);
}

void WidenRow(const std::byte* x, WeightFormat format, std::int64_t count, float* y) {
  switch (format) {
    case WeightFormat::kBf16:
      return HWY_DYNAMIC_DISPATCH(WidenBf16)(x, count, y);
    case WeightFormat::kF16:
      return HWY_DYNAMIC_DISPATCH(WidenF16)(x, count, y);
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      return HWY_DYNAMIC_DISPATCH(WidenF32)(x, count, y);
  }
}

std::string IsaName() { return HWY_DYNAMIC_DISPATCH(TargetHere)(); }

}  // namespace codegen::cpu
#endif
