// SPDX-License-Identifier: Apache-2.0
//
// Turning queries and keys, and entering keys and values into their pages: y = (a cosine - b sine,
// b cosine + a sine) for each pair (a, b) of a head [dim] f32, in whole vectors where the pairs
// allow, the same elements always; then f32 or bf16 (rounded to nearest even) into the page, keys
// down a column, values along a row (kernels.h). The thread owns the row and the head.
#include "cpu/rotary.h"

#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/rotary.cc"
#include <hwy/foreach_target.h>
//
#include <algorithm>
#include <cstring>

#include "backend/rows.h"
#include "cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR
std::int64_t TurnNeighbours(const float*, std::int64_t, const float*, float*) { return 0; }
#else
// Pairs (2i, 2i + 1) in whole vectors; returns how many.
std::int64_t TurnNeighbours(const float* x, std::int64_t pairs, const float* turns, float* y) {
  const F f;
  std::int64_t i = 0;
  for (; i + kLanes <= 2 * pairs; i += kLanes) {
    const V value = hn::LoadU(f, x + i);
    const V turn = hn::LoadU(f, turns + i);
    const V cosine = hn::DupEven(turn);
    const V across = hn::Mul(hn::Reverse2(f, value), hn::DupOdd(turn));
    const V first = hn::MulSub(value, cosine, across);
    const V second = hn::MulAdd(value, cosine, across);
    hn::Store(hn::OddEven(second, first), f, y + i);
  }
  return i / 2;
}
#endif

// Pairs (i, i + pairs) in whole vectors; returns how many.
std::int64_t TurnHalves(const float* x, std::int64_t pairs, const float* turns, float* y) {
  const F f;
  std::int64_t i = 0;
  for (; i + kLanes <= pairs; i += kLanes) {
    const V a = hn::LoadU(f, x + i);
    const V b = hn::LoadU(f, x + pairs + i);
    const V cosine = hn::LoadU(f, turns + i);
    const V sine = hn::LoadU(f, turns + pairs + i);
    hn::StoreU(hn::MulSub(a, cosine, hn::Mul(b, sine)), f, y + i);
    hn::StoreU(hn::MulAdd(b, cosine, hn::Mul(a, sine)), f, y + pairs + i);
  }
  return i;
}

void Rotate(const float* x, const backend::Heads& heads, const float* turns, float* y) {
  const bool neighbours = heads.rotary_pairs == backend::RotaryPairs::kInterleaved;
  const std::int64_t pairs = heads.rotary_dim / 2;
  const std::int64_t step = neighbours ? 2 : 1;
  const std::int64_t partner = neighbours ? 1 : pairs;
  std::int64_t i = neighbours ? TurnNeighbours(x, pairs, turns, y) : TurnHalves(x, pairs, turns, y);
  for (; i < pairs; ++i) {
    const float cosine = turns[i * step];
    const float sine = turns[i * step + partner];
    const float a = x[i * step];
    const float b = x[i * step + partner];
    y[i * step] = a * cosine - b * sine;
    y[i * step + partner] = b * cosine + a * sine;
  }
  std::copy(x + heads.rotary_dim, x + heads.dim, y + heads.rotary_dim);
}

void AppendKeyF32(const float* key, std::int64_t dim, std::int64_t slot, std::byte* page) {
  float* const column = reinterpret_cast<float*>(page) + slot;
  for (std::int64_t d = 0; d < dim; ++d) column[d * backend::kPageTokens] = key[d];
}

void AppendKeyBf16(const float* key, std::int64_t dim, std::int64_t slot, std::byte* page) {
  const hn::Rebind<std::uint16_t, F> half;
  constexpr std::int64_t kPairBytes = 4;
  std::byte* column = page + slot * kPairBytes;
  for (std::int64_t d = 0; d < dim; d += kLine) {
    HWY_ALIGN std::uint16_t rounded[kLine];
    for (std::int64_t i = 0; i < kLine; i += kLanes)
      hn::Store(RoundToBf16(hn::Load(F(), key + d + i)), half, rounded + i);
    const std::int64_t count = std::min(kLine, dim - d);
    for (std::int64_t i = 0; i < count; i += 2, column += backend::kPageTokens * kPairBytes)
      std::memcpy(column, rounded + i, kPairBytes);
  }
}

void AppendValueF32(const float* value, std::int64_t dim, std::int64_t slot, std::byte* page) {
  float* const row = reinterpret_cast<float*>(page) + slot * RoundUpToLine(dim);
  for (std::int64_t d = 0; d < RoundUpToLine(dim); d += kLanes)
    hn::Store(hn::LoadU(F(), value + d), F(), row + d);
}

void AppendValueBf16(const float* value, std::int64_t dim, std::int64_t slot, std::byte* page) {
  const U u;
  auto* const row = reinterpret_cast<std::uint32_t*>(page) + slot / 2 * RoundUpToLine(dim);
  const bool second = slot % 2 != 0;
  const auto neighbour = hn::Set(u, second ? 0x0000FFFFU : 0xFFFF0000U);
  for (std::int64_t d = 0; d < RoundUpToLine(dim); d += kLanes) {
    const auto rounded = hn::PromoteTo(u, RoundToBf16(hn::LoadU(F(), value + d)));
    const auto own = second ? hn::ShiftLeft<16>(rounded) : rounded;
    hn::Store(hn::Or(hn::And(hn::Load(u, row + d), neighbour), own), u, row + d);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <utility>

#include "backend/turns.h"
#include "base/check.h"
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(Rotate);
HWY_EXPORT(AppendKeyF32);
HWY_EXPORT(AppendKeyBf16);
HWY_EXPORT(AppendValueF32);
HWY_EXPORT(AppendValueBf16);

void AddRotary(Kernels& kernels) {
  kernels.rotate = CODEGEN_VERSION_FOR(kernels.level, Rotate);
  kernels.kv_f32.append_key = CODEGEN_VERSION_FOR(kernels.level, AppendKeyF32);
  kernels.kv_f32.append_value = CODEGEN_VERSION_FOR(kernels.level, AppendValueF32);
  for (KvKernels* kv : {&kernels.kv_bf16, &kernels.kv_bf16_fast}) {
    kv->append_key = CODEGEN_VERSION_FOR(kernels.level, AppendKeyBf16);
    kv->append_value = CODEGEN_VERSION_FOR(kernels.level, AppendValueBf16);
  }
}

absl::StatusOr<RotaryTable> RotaryTable::Make(std::int64_t positions, const backend::Heads& heads,
                                              base::ThreadPool& pool) {
  RotaryTable table;
  const std::int64_t rotary_dim = heads.rotary_dim;
  CODEGEN_ASSIGN_OR_RETURN(table.buffer_, base::AlignedBuffer::Make(positions * rotary_dim *
                                                                    std::int64_t{sizeof(float)}));
  table.positions_ = positions;
  table.heads_ = heads;
  float* const turns = table.buffer_.as<float>().data();
  pool.ParallelFor(rotary_dim / 2,
                   [&](std::int64_t pair) { backend::FillTurns(heads, positions, pair, turns); });
  return table;
}

bool RotaryTable::Covers(const backend::Heads& heads, std::int64_t positions) const {
  return backend::TurnAlike(heads, heads_) && positions <= positions_;
}

}  // namespace codegen::cpu
#endif
