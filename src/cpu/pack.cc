// SPDX-License-Identifier: Apache-2.0
#include "cpu/pack.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "base/check.h"
#include "cpu/kernels.h"
#include "quant/format.h"
#include "tensor/half.h"

namespace codegen::cpu {
namespace {

constexpr std::int64_t kLineBytes = 64;
constexpr std::int64_t kGroup = quant::kInt4Group;
constexpr std::int64_t kGroupLines = kGroup / 8;  // and one of scales

std::int64_t DivideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Rows arrive with a stride of `inputs` floats, often a power of two, so that the 16 elements of
// one input share a set of the L1 cache; a block of 16 inputs takes each line of them once.
template <class Store>
void ForEachElement(const float* rows, std::int64_t outputs, std::int64_t inputs,
                    const Store& store) {
  for (std::int64_t first = 0; first < inputs; first += kLine) {
    const std::int64_t last = std::min(first + kLine, inputs);
    for (std::int64_t o = 0; o < outputs; ++o)
      for (std::int64_t k = first; k < last; ++k) store(o, k, rows[o * inputs + k]);
  }
}

template <class T>
T* As(std::byte* bytes) {
  return reinterpret_cast<T*>(bytes);
}

std::span<const float> Row(const float* rows, std::int64_t inputs, std::int64_t o) {
  return {rows + o * inputs, static_cast<std::size_t>(inputs)};
}

void PackInt8(const float* rows, std::int64_t outputs, std::int64_t inputs, std::byte* panel,
              float* scales) {
  std::vector<std::int8_t> q(static_cast<std::size_t>(inputs));
  auto* const out = As<std::uint8_t>(panel);
  for (std::int64_t o = 0; o < outputs; ++o) {
    scales[o] = quant::QuantizeInt8(Row(rows, inputs, o), q);
    for (std::int64_t k = 0; k < inputs; ++k)
      out[(k / 4 * kLine + o) * 4 + k % 4] =
          static_cast<std::uint8_t>(q[static_cast<std::size_t>(k)] + 128);
  }
}

// Packs one group of one output; `group` has its lines.
void PackInt4Group(std::span<const float> floats, std::int64_t o, std::byte* group) {
  std::array<std::uint8_t, kGroup> q{};
  const quant::Int4Scale scale = quant::QuantizeInt4(floats, std::span(q).first(floats.size()));
  auto* const nibbles = As<std::uint8_t>(group);
  for (std::size_t k = 0; k < q.size(); ++k) {
    const std::size_t byte = (k / 8 * kLine + static_cast<std::size_t>(o)) * 4 + k % 4;
    nibbles[byte] = static_cast<std::uint8_t>(nibbles[byte] | q[k] << (k % 8 / 4 * 4));
  }
  auto* const halves = As<std::uint16_t>(group + kGroupLines * kLineBytes);
  halves[o] = scale.scale;
  halves[kLine + o] = scale.minimum;
}

void PackInt4(const float* rows, std::int64_t outputs, std::int64_t inputs, std::byte* panel) {
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t first = 0; first < inputs; first += kGroup) {
      const auto count = static_cast<std::size_t>(std::min(kGroup, inputs - first));
      PackInt4Group({rows + o * inputs + first, count}, o,
                    panel + first / kGroup * (kGroupLines + 1) * kLineBytes);
    }
  }
}

}  // namespace

std::int64_t PanelBytes(WeightFormat format, std::int64_t inputs) {
  CODEGEN_DCHECK(format != WeightFormat::kAuto);
  std::int64_t lines = inputs;
  if (format == WeightFormat::kBf16 || format == WeightFormat::kF16) lines = DivideUp(inputs, 2);
  if (format == WeightFormat::kInt8) lines = DivideUp(inputs, 64) * 16;
  if (format == WeightFormat::kInt4) lines = DivideUp(inputs, kGroup) * (kGroupLines + 1);
  return (lines | 1) * kLineBytes;
}

void PackPanel(const float* rows, std::int64_t outputs, std::int64_t inputs, WeightFormat format,
               std::byte* panel, float* scales) {
  switch (format) {
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      return ForEachElement(rows, outputs, inputs,
                            [out = As<float>(panel)](std::int64_t o, std::int64_t k, float value) {
                              out[k * kLine + o] = value;
                            });
    case WeightFormat::kBf16:
      return ForEachElement(
          rows, outputs, inputs,
          [out = As<std::uint16_t>(panel)](std::int64_t o, std::int64_t k, float value) {
            out[(k / 2 * kLine + o) * 2 + k % 2] = tensor::Bf16FromFloat(value);
          });
    case WeightFormat::kF16:
      return ForEachElement(
          rows, outputs, inputs,
          [out = As<std::uint16_t>(panel)](std::int64_t o, std::int64_t k, float value) {
            out[k * kLine + o] = tensor::F16FromFloat(value);
          });
    case WeightFormat::kInt8:
      return PackInt8(rows, outputs, inputs, panel, scales);
    case WeightFormat::kInt4:
      return PackInt4(rows, outputs, inputs, panel);
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

float PackEmbeddingRow(const float* floats, std::int64_t count, WeightFormat format,
                       std::byte* out) {
  switch (EmbeddingFormat(format)) {
    case WeightFormat::kBf16:
      std::transform(floats, floats + count, As<std::uint16_t>(out), tensor::Bf16FromFloat);
      return 1;
    case WeightFormat::kF16:
      std::transform(floats, floats + count, As<std::uint16_t>(out), tensor::F16FromFloat);
      return 1;
    case WeightFormat::kInt8:
      return quant::QuantizeInt8({floats, static_cast<std::size_t>(count)},
                                 {As<std::int8_t>(out), static_cast<std::size_t>(count)});
    default:
      std::copy_n(floats, count, As<float>(out));
      return 1;
  }
}

}  // namespace codegen::cpu
