// SPDX-License-Identifier: Apache-2.0
#include "cpu/parts.h"

#include <algorithm>
#include <type_traits>

#include "cpu/cpu_device.h"
#include "cpu/pack.h"

namespace codegen::cpu {
namespace {

using backend::Bias;
using backend::PartOf;
using tensor::DType;
using Bytes = std::span<const std::byte>;

constexpr std::uint16_t kF16Infinity = 0x7C00;

template <class Bits>
std::span<const Bits> As(Bytes bytes) {
  return {reinterpret_cast<const Bits*>(bytes.data()), bytes.size() / sizeof(Bits)};
}

// Infinity and NaN are those whose exponent bits are all set.
template <class Bits, Bits exponent>
bool AllFinite(Bytes bytes) {
  Bits largest = 0;
  for (const Bits bits : As<Bits>(bytes))
    largest = std::max(largest, static_cast<Bits>(bits & exponent));
  return largest != exponent;
}

constexpr auto kFiniteF32 = AllFinite<std::uint32_t, 0x7F800000U>;
constexpr auto kFiniteBf16 = AllFinite<std::uint16_t, 0x7F80>;
constexpr auto kFiniteF16 = AllFinite<std::uint16_t, kF16Infinity>;

bool AreScales(Bytes bytes) {
  const std::span<const float> scales = As<float>(bytes);
  return kFiniteF32(bytes) && std::ranges::all_of(scales, [](float scale) { return scale >= 0; });
}

// A line of int4: 16 scales, whose sign is not set either, and 16 minima.
bool AreInt4Scales(Bytes line) {
  return std::ranges::all_of(As<std::uint16_t>(line.first(kLineBytes / 2)),
                             [](std::uint16_t bits) { return bits < kF16Infinity; }) &&
         kFiniteF16(line.last(kLineBytes / 2));
}

// Every ninth line of a panel holds scales; the line of padding after the last is none of them.
bool AreInt4Panels(Bytes panels, std::size_t panel_bytes) {
  constexpr std::size_t kGroupBytes{kInt4GroupBytes};
  for (; !panels.empty(); panels = panels.subspan(panel_bytes)) {
    for (std::size_t end = kGroupBytes; end <= panel_bytes; end += kGroupBytes)
      if (!AreInt4Scales(panels.subspan(end - kLineBytes, kLineBytes))) return false;
  }
  return true;
}

// The elements of a matrix [rows, row_bytes].
template <class Byte>
PartOf<Byte> MatrixPart(WeightFormat format, DType int8, std::int64_t rows, std::span<Byte> bytes) {
  PartOf<Byte> part{.name = WeightFormatName(format), .dtype = DType::kU8, .bytes = bytes};
  const auto row_bytes = static_cast<std::int64_t>(bytes.size()) / rows;
  switch (format) {
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      part.dtype = DType::kF32;
      part.valid = kFiniteF32;
      break;
    case WeightFormat::kBf16:
      part.dtype = DType::kBf16;
      part.valid = kFiniteBf16;
      break;
    case WeightFormat::kF16:
      part.dtype = DType::kF16;
      part.valid = kFiniteF16;
      break;
    case WeightFormat::kInt8:
      part.dtype = int8;
      break;
    case WeightFormat::kInt4:
      part.valid = [panel_bytes = static_cast<std::size_t>(row_bytes)](Bytes rows_bytes) {
        return AreInt4Panels(rows_bytes, panel_bytes);
      };
      break;
  }
  part.shape = {rows, row_bytes / tensor::ItemBytes(part.dtype)};
  return part;
}

template <class Buffer>
using ByteOf = std::remove_pointer_t<decltype(std::declval<Buffer&>().data())>;

template <class Buffer>
std::span<ByteOf<Buffer>> All(Buffer& buffer) {
  return {buffer.data(), static_cast<std::size_t>(buffer.size())};
}

// The first `size` floats of a padded buffer.
template <class Buffer>
PartOf<ByteOf<Buffer>> VectorPart(const char* name, std::int64_t size, Buffer& buffer) {
  return {.name = name,
          .dtype = DType::kF32,
          .shape = {size},
          .bytes = All(buffer).first(static_cast<std::size_t>(size) * sizeof(float)),
          .valid = kFiniteF32};
}

template <class Buffer>
PartOf<ByteOf<Buffer>> ScalesPart(std::int64_t size, Buffer& buffer) {
  auto part = VectorPart("scales", size, buffer);
  part.valid = AreScales;
  return part;
}

template <class W>
auto WeightParts(W& weight, Bias bias) {
  const std::int64_t panels = weight.panels.size() / weight.panel_bytes;
  std::vector parts = {MatrixPart(weight.format, DType::kU8, panels, All(weight.panels))};
  if (weight.format == WeightFormat::kInt8)
    parts.push_back(ScalesPart(weight.outputs, weight.scales));
  if (bias == Bias::kVector) parts.push_back(VectorPart("bias", weight.outputs, weight.bias));
  return parts;
}

template <class E>
auto EmbeddingParts(E& embedding) {
  std::vector parts = {
      MatrixPart(embedding.format, DType::kI8, embedding.rows, All(embedding.elements))};
  if (embedding.format == WeightFormat::kInt8)
    parts.push_back(ScalesPart(embedding.rows, embedding.scales));
  return parts;
}

template <class N>
auto NormParts(N& norm, Bias bias) {
  std::vector parts = {VectorPart("gain", norm.columns, norm.gain)};
  if (bias == Bias::kVector) parts.push_back(VectorPart("bias", norm.columns, norm.bias));
  return parts;
}

}  // namespace

std::vector<backend::Part> PartsOf(Weight& weight, Bias bias) { return WeightParts(weight, bias); }
std::vector<backend::Part> PartsOf(Embedding& embedding, Bias) { return EmbeddingParts(embedding); }
std::vector<backend::Part> PartsOf(Norm& norm, Bias bias) { return NormParts(norm, bias); }

std::vector<backend::ConstPart> PartsOf(const Weight& weight, Bias bias) {
  return WeightParts(weight, bias);
}
std::vector<backend::ConstPart> PartsOf(const Embedding& embedding, Bias) {
  return EmbeddingParts(embedding);
}
std::vector<backend::ConstPart> PartsOf(const Norm& norm, Bias bias) {
  return NormParts(norm, bias);
}

}  // namespace codegen::cpu
