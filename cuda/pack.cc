// SPDX-License-Identifier: Apache-2.0
#include "cuda/pack.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "cuda/kernels/linear.h"
#include "quant/format.h"
#include "tensor/half.h"

namespace codegen::cuda {
namespace {

static_assert(kInt4GroupInputs == quant::kInt4Group);
static_assert(sizeof(Int4Scale) == sizeof(quant::Int4Scale));

std::int64_t ElementBytes(WeightFormat format, std::int64_t columns) {
  switch (format) {
    case WeightFormat::kF32:
      return 4 * columns;
    case WeightFormat::kBf16:
    case WeightFormat::kF16:
      return 2 * columns;
    case WeightFormat::kInt8:
      return columns;
    case WeightFormat::kInt4:
      return (columns + 7) / 8 * static_cast<std::int64_t>(sizeof(Int4Word));
    case WeightFormat::kAuto:
      break;
  }
  CODEGEN_DCHECK(false);
  return 0;
}

std::int64_t ScaleBytes(WeightFormat format, std::int64_t columns) {
  if (format == WeightFormat::kInt8) return sizeof(float);
  if (format != WeightFormat::kInt4) return 0;
  return quant::Int4Groups(columns) * static_cast<std::int64_t>(sizeof(Int4Scale));
}

void PackInt4(std::span<const float> row, std::byte* elements, std::byte* scales) {
  constexpr auto kGroup = static_cast<std::size_t>(quant::kInt4Group);
  std::uint8_t codes[kGroup];
  for (std::size_t first = 0; first < row.size(); first += kGroup) {
    const std::span group = row.subspan(first, std::min(kGroup, row.size() - first));
    std::fill(std::begin(codes), std::end(codes), std::uint8_t{0});
    const quant::Int4Scale scale = quant::QuantizeInt4(group, {codes, group.size()});
    std::memcpy(scales, &scale, sizeof scale);
    scales += sizeof scale;
    for (std::size_t i = 0; i < group.size(); i += 8) {
      Int4Word word = {0};
      for (int j = 0; j < 8; ++j)
        word.codes |= std::uint32_t{codes[i + static_cast<std::size_t>(j)]} << Int4Word::Bit(j);
      std::memcpy(elements, &word, sizeof word);
      elements += sizeof word;
    }
  }
}

}  // namespace

RowLayout WeightLayout(WeightFormat format, std::int64_t columns) {
  const std::int64_t pieces = (ElementBytes(format, columns) + kPieceBytes - 1) / kPieceBytes;
  return {.format = format,
          .columns = columns,
          .elements = pieces * kPieceBytes,
          .scales = ScaleBytes(format, columns)};
}

RowLayout EmbeddingLayout(WeightFormat format, std::int64_t columns) {
  if (format == WeightFormat::kInt4) format = WeightFormat::kInt8;
  return {.format = format,
          .columns = columns,
          .elements = ElementBytes(format, columns),
          .scales = ScaleBytes(format, columns)};
}

void PackRow(const RowLayout& layout, std::span<const float> row, std::byte* elements,
             std::byte* scales) {
  CODEGEN_DCHECK(static_cast<std::int64_t>(row.size()) == layout.columns);
  const auto store_halves = [&](const auto& to_bits) {
    for (const float value : row) {
      const std::uint16_t bits = to_bits(value);
      std::memcpy(elements, &bits, sizeof bits);
      elements += sizeof bits;
    }
  };
  switch (layout.format) {
    case WeightFormat::kF32:
      std::memcpy(elements, row.data(), row.size_bytes());
      break;
    case WeightFormat::kBf16:
      store_halves(tensor::Bf16FromFloat);
      break;
    case WeightFormat::kF16:
      store_halves(tensor::F16FromFloat);
      break;
    case WeightFormat::kInt8: {
      const float scale =
          quant::QuantizeInt8(row, {reinterpret_cast<std::int8_t*>(elements), row.size()});
      std::memcpy(scales, &scale, sizeof scale);
      break;
    }
    case WeightFormat::kInt4:
      PackInt4(row, elements, scales);
      break;
    case WeightFormat::kAuto:
      CODEGEN_DCHECK(false);
  }
}

}  // namespace codegen::cuda
