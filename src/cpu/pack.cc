// SPDX-License-Identifier: Apache-2.0
#include "cpu/pack.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "cpu/kernels.h"

namespace codegen::cpu {
namespace {

constexpr std::int64_t kGroup = quant::kInt4Group;

std::int64_t DivideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::int64_t PanelBytes(WeightFormat format, std::int64_t inputs) {
  CODEGEN_DCHECK(format != WeightFormat::kAuto);
  std::int64_t lines = inputs;
  if (format == WeightFormat::kBf16) lines = DivideUp(inputs, 32) * 16;
  if (format == WeightFormat::kF16) lines = DivideUp(inputs, 2);
  if (format == WeightFormat::kInt8) lines = DivideUp(inputs, 64) * 16;
  if (format == WeightFormat::kInt4) lines = DivideUp(inputs, kGroup) * (kInt4GroupLines + 1);
  return (lines | 1) * kLineBytes;
}

void PackInt4Group(const std::uint8_t* codes, quant::Int4Scale scale, std::int64_t o,
                   std::byte* group) {
  auto* const halves = reinterpret_cast<std::uint16_t*>(group + kInt4GroupLines * kLineBytes);
  halves[o] = scale.scale;
  halves[kLine + o] = scale.minimum;
  auto* const words = reinterpret_cast<std::uint32_t*>(group);
  for (std::int64_t line = 0; line < kInt4GroupLines; ++line) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::memcpy(&low, codes + line * 8, sizeof(low));
    std::memcpy(&high, codes + line * 8 + 4, sizeof(high));
    words[line * kLine + o] = low | high << 4;
  }
}

void PackInt4Panel(std::span<const std::uint8_t> codes, std::span<const quant::Int4Scale> scales,
                   std::int64_t inputs, std::byte* panel) {
  const std::int64_t groups = quant::Int4Groups(inputs);
  CODEGEN_DCHECK(std::ssize(codes) / inputs * groups == std::ssize(scales));
  for (std::int64_t i = 0; i < std::ssize(scales); ++i) {
    const std::int64_t o = i / groups;
    const std::int64_t first = i % groups * kGroup;
    std::array<std::uint8_t, kGroup> whole = {};
    std::copy_n(codes.data() + o * inputs + first, std::min(kGroup, inputs - first), whole.begin());
    PackInt4Group(whole.data(), scales[static_cast<std::size_t>(i)], o,
                  panel + i % groups * kInt4GroupBytes);
  }
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
