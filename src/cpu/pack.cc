// SPDX-License-Identifier: Apache-2.0
#include "cpu/pack.h"

#include "base/check.h"
#include "cpu/kernels.h"
#include "quant/format.h"

namespace codegen::cpu {
namespace {

constexpr std::int64_t kLineBytes = 64;
constexpr std::int64_t kGroup = quant::kInt4Group;
constexpr std::int64_t kGroupLines = kGroup / 8;  // and one of scales

std::int64_t DivideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::int64_t PanelBytes(WeightFormat format, std::int64_t inputs) {
  CODEGEN_DCHECK(format != WeightFormat::kAuto);
  std::int64_t lines = inputs;
  if (format == WeightFormat::kBf16) lines = DivideUp(inputs, 32) * 16;
  if (format == WeightFormat::kF16) lines = DivideUp(inputs, 2);
  if (format == WeightFormat::kInt8) lines = DivideUp(inputs, 64) * 16;
  if (format == WeightFormat::kInt4) lines = DivideUp(inputs, kGroup) * (kGroupLines + 1);
  return (lines | 1) * kLineBytes;
}

WeightFormat EmbeddingFormat(WeightFormat format) {
  return format == WeightFormat::kInt4 ? WeightFormat::kInt8 : format;
}

std::int64_t EmbeddingRowBytes(WeightFormat format, std::int64_t columns) {
  const std::int64_t elements = RoundUpToLine(columns);
  switch (EmbeddingFormat(format)) {
    case WeightFormat::kInt8:
      return elements;
    case WeightFormat::kBf16:
    case WeightFormat::kF16:
      return elements * 2;
    default:
      return elements * 4;
  }
}

}  // namespace codegen::cpu
