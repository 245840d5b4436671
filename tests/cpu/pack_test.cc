// SPDX-License-Identifier: Apache-2.0
//
// Packing beside the page that defines the formats (quant/format.h) and the layout (cpu/pack.h), an
// element at a time.
#include "cpu/pack.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "cpu/cpu_testing.h"
#include "quant/format.h"
#include "tensor/half.h"

namespace codegen::cpu {
namespace {

constexpr WeightFormat kPackedFormats[] = {WeightFormat::kF32, WeightFormat::kBf16,
                                           WeightFormat::kF16, WeightFormat::kInt8,
                                           WeightFormat::kInt4};

struct Matrix {
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  std::vector<float> rows = {};

  std::span<const float> row(std::int64_t o) const {
    return std::span(rows).subspan(static_cast<std::size_t>(o * inputs),
                                   static_cast<std::size_t>(inputs));
  }
};

// What lies in a panel, and which of its bytes mean something.
struct Panel {
  explicit Panel(std::int64_t size)
      : bytes(static_cast<std::size_t>(size)), counts(static_cast<std::size_t>(size)) {}

  template <class T>
  void Set(std::int64_t index, T value) {
    const std::size_t at = static_cast<std::size_t>(index) * sizeof(T);
    std::memcpy(bytes.data() + at, &value, sizeof(T));
    std::fill_n(counts.begin() + static_cast<std::ptrdiff_t>(at), sizeof(T), true);
  }

  std::vector<std::byte> bytes;
  std::vector<bool> counts;
  std::array<float, 16> scales = {};
};

void SetInt8(const Matrix& matrix, std::int64_t o, Panel& panel) {
  std::vector<std::int8_t> q(static_cast<std::size_t>(matrix.inputs));
  panel.scales[static_cast<std::size_t>(o)] = quant::QuantizeInt8(matrix.row(o), q);
  for (std::int64_t k = 0; k < matrix.inputs; ++k)
    panel.Set((k / 4 * 16 + o) * 4 + k % 4,
              static_cast<std::uint8_t>(q[static_cast<std::size_t>(k)] + 128));
}

void SetInt4(const Matrix& matrix, std::int64_t o, Panel& panel) {
  constexpr std::int64_t kGroup = quant::kInt4Group;
  constexpr std::int64_t kGroupBytes = (kGroup / 8 + 1) * 64;
  for (std::int64_t first = 0; first < matrix.inputs; first += kGroup) {
    std::array<std::uint8_t, kGroup> q = {};
    const auto count = static_cast<std::size_t>(std::min(kGroup, matrix.inputs - first));
    const quant::Int4Scale scale = quant::QuantizeInt4(
        matrix.row(o).subspan(static_cast<std::size_t>(first), count), std::span(q).first(count));
    const std::int64_t group = first / kGroup * kGroupBytes;
    for (std::int64_t k = 0; k < kGroup; k += 8) {
      for (std::int64_t i = k; i < k + 4; ++i)
        panel.Set(group + (k / 8 * 16 + o) * 4 + i % 4,
                  static_cast<std::uint8_t>(q[static_cast<std::size_t>(i)] |
                                            q[static_cast<std::size_t>(i + 4)] << 4));
    }
    panel.Set(group / 2 + kGroup / 8 * 32 + o, scale.scale);
    panel.Set(group / 2 + kGroup / 8 * 32 + 16 + o, scale.minimum);
  }
}

void SetRow(const Matrix& matrix, std::int64_t o, WeightFormat format, Panel& panel) {
  if (format == WeightFormat::kInt8) return SetInt8(matrix, o, panel);
  if (format == WeightFormat::kInt4) return SetInt4(matrix, o, panel);
  for (std::int64_t k = 0; k < matrix.inputs; ++k) {
    const float value = matrix.row(o)[static_cast<std::size_t>(k)];
    if (format == WeightFormat::kF32) panel.Set(k * 16 + o, value);
    if (format == WeightFormat::kF16) panel.Set(k * 16 + o, tensor::F16FromFloat(value));
    if (format == WeightFormat::kBf16)
      panel.Set((k / 2 * 16 + o) * 2 + k % 2, tensor::Bf16FromFloat(value));
  }
  if (format != WeightFormat::kBf16) return;
  for (std::int64_t k = matrix.inputs; k < (matrix.inputs + 31) / 32 * 32; ++k)
    panel.Set((k / 2 * 16 + o) * 2 + k % 2, std::uint16_t{0});
}

Panel Expected(const Matrix& matrix, WeightFormat format) {
  Panel panel(PanelBytes(format, matrix.inputs));
  for (std::int64_t o = 0; o < matrix.outputs; ++o) SetRow(matrix, o, format, panel);
  return panel;
}

void ExpectPacked(const Kernels& kernels, const Matrix& matrix, WeightFormat format) {
  const Panel expected = Expected(matrix, format);
  auto buffer = Take(base::AlignedBuffer::Make(PanelBytes(format, matrix.inputs)));
  std::array<float, 16> scales = {};

  kernels.pack_panel({matrix.rows.data(), WeightFormat::kF32, matrix.outputs, matrix.inputs},
                     format, buffer.data(), scales.data());

  std::vector<std::size_t> wrong;
  for (std::size_t i = 0; i < expected.bytes.size(); ++i)
    if (expected.counts[i] && expected.bytes[i] != buffer.data()[i]) wrong.push_back(i);
  EXPECT_EQ(wrong, std::vector<std::size_t>())
      << WeightFormatName(format) << " " << matrix.outputs << " x " << matrix.inputs;
  EXPECT_EQ(std::memcmp(scales.data(), expected.scales.data(), sizeof(scales)), 0);
}

Matrix RandomMatrix(std::int64_t outputs, std::int64_t inputs, std::mt19937& random) {
  return {outputs, inputs, RandomFloats(outputs * inputs, random)};
}

// Rows of what rounding and scaling may trip over.
Matrix StrangeMatrix(std::int64_t inputs) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> patterns = {
      {0.0F},          {-0.0F, 0.0F},    {1e-40F, -1e-39F}, {1e-38F, 2e-38F},
      {65504, 65519},  {65520, -65520},  {6e-8F, 3e-8F},    {1.5F, 2.5F, -0.5F},
      {kNan, 1},       {1, kInfinity},   {kLargest, 1},     {0.0F, -0.0F, 1e-8F},
      {127, 63.5F, 1}, {-1, -2, -3, -4}, {6.1e-5F, 6e-5F},  {1, 1.00390625F, 1.01171875F}};
  Matrix matrix{.outputs = 16, .inputs = inputs};
  for (const std::vector<float>& pattern : patterns) {
    for (std::int64_t k = 0; k < inputs; ++k)
      matrix.rows.push_back(pattern[static_cast<std::size_t>(k) % pattern.size()]);
  }
  return matrix;
}

class Pack : public CpuTest {};

TEST_P(Pack, IsThePageOfTheFormats) {
  std::mt19937 random(1);
  for (const std::int64_t inputs :
       {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 100, 511, 512, 513, 600, 1027}) {
    for (const std::int64_t outputs : {1, 2, 15, 16}) {
      const Matrix matrix = RandomMatrix(outputs, inputs, random);
      for (const WeightFormat format : kPackedFormats)
        ExpectPacked(KernelsOf(GetParam()), matrix, format);
    }
  }
}

TEST_P(Pack, KeepsToItForStrangeNumbers) {
  for (const std::int64_t inputs : {1, 2, 16, 33, 64, 515}) {
    for (const WeightFormat format : kPackedFormats) {
      if (format == WeightFormat::kInt4) continue;  // not beyond the range of its scales
      ExpectPacked(KernelsOf(GetParam()), StrangeMatrix(inputs), format);
    }
  }
}

TEST_P(Pack, KeepsToItForStrangeGroups) {
  for (const std::int64_t inputs : {1, 2, 16, 33, 64, 130}) {
    Matrix matrix = StrangeMatrix(inputs);
    for (float& value : matrix.rows)
      if (std::abs(value) > 60000 && std::isfinite(value)) value = 60000;
    ExpectPacked(KernelsOf(GetParam()), matrix, WeightFormat::kInt4);
  }
}

struct PackedRows {
  std::vector<std::byte> bytes;
  std::array<float, 16> scales = {};
};

PackedRows PackedBytes(const Kernels& kernels, const WeightRows& rows, WeightFormat format) {
  auto buffer = Take(base::AlignedBuffer::Make(PanelBytes(format, rows.columns)));
  PackedRows packed;
  kernels.pack_panel(rows, format, buffer.data(), packed.scales.data());
  packed.bytes.assign(buffer.data(), buffer.data() + buffer.size());
  return packed;
}

PackedRows EmbeddedBytes(const Kernels& kernels, const WeightRows& rows, WeightFormat format) {
  auto buffer =
      Take(base::AlignedBuffer::Make(rows.count * EmbeddingRowBytes(format, rows.columns)));
  PackedRows packed;
  kernels.pack_embedding(rows, format, buffer.data(), packed.scales.data());
  packed.bytes.assign(buffer.data(), buffer.data() + buffer.size());
  return packed;
}

void ExpectSame(const PackedRows& a, const PackedRows& b) {
  EXPECT_EQ(a.bytes, b.bytes);
  EXPECT_EQ(std::memcmp(a.scales.data(), b.scales.data(), sizeof(a.scales)), 0);
}

// Rows of 16-bit patterns give what their float32 values give, to the last bit of the padding.
void ExpectStoredAsWidened(const Kernels& kernels, const std::vector<std::uint16_t>& bits,
                           std::int64_t columns, WeightFormat stored) {
  std::vector<float> floats(bits.size());
  std::ranges::transform(
      bits, floats.begin(),
      stored == WeightFormat::kF16 ? tensor::FloatFromF16 : tensor::FloatFromBf16);
  const std::int64_t count = std::ssize(bits) / columns;
  const WeightRows wide{floats.data(), WeightFormat::kF32, count, columns};
  const WeightRows narrow{bits.data(), stored, count, columns};
  for (const WeightFormat format : kPackedFormats) {
    if (format == WeightFormat::kF32) continue;
    SCOPED_TRACE(fmt::format("{} as {}, {} x {}", WeightFormatName(stored),
                             WeightFormatName(format), count, columns));
    ExpectSame(PackedBytes(kernels, narrow, format), PackedBytes(kernels, wide, format));
    ExpectSame(EmbeddedBytes(kernels, narrow, format), EmbeddedBytes(kernels, wide, format));
  }
}

TEST_P(Pack, TakesStoredRowsForTheirValues) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (const std::int64_t columns : {1, 3, 16, 31, 64, 130, 256, 257, 515, 1100}) {
    for (const std::int64_t count : {1, 7, 16}) {
      std::vector<std::uint16_t> half(static_cast<std::size_t>(count * columns));
      std::vector<std::uint16_t> brain = half;
      for (std::uint16_t& bits : half) bits = tensor::F16FromFloat(normal(random));
      for (std::uint16_t& bits : brain) bits = tensor::Bf16FromFloat(normal(random));
      ExpectStoredAsWidened(KernelsOf(GetParam()), half, columns, WeightFormat::kF16);
      ExpectStoredAsWidened(KernelsOf(GetParam()), brain, columns, WeightFormat::kBf16);
    }
  }
}

TEST_P(Pack, TakesEveryStoredPatternForItsValue) {
  for (std::uint32_t first = 0; first < 65536; first += 16 * 64) {
    std::vector<std::uint16_t> bits(16 * 64);
    std::iota(bits.begin(), bits.end(), static_cast<std::uint16_t>(first));
    for (const WeightFormat stored : {WeightFormat::kF16, WeightFormat::kBf16})
      ExpectStoredAsWidened(KernelsOf(GetParam()), bits, 64, stored);
  }
}

// What no element has a place in stays zero: saved models are the same on every machine.
TEST_P(Pack, LeavesZerosWhereThereAreNoRows) {
  std::mt19937 random(5);
  for (const WeightFormat format : kPackedFormats) {
    const Matrix matrix = RandomMatrix(3, 300, random);
    const PackedRows packed = PackedBytes(KernelsOf(GetParam()),
                                          {matrix.rows.data(), WeightFormat::kF32, 3, 300}, format);
    const std::int64_t word = format == WeightFormat::kF16 ? 2 : 4;
    const std::int64_t line_words = 16;
    for (std::int64_t i = 0; i < std::ssize(packed.bytes); ++i) {
      const std::int64_t output = i / word % line_words;
      if (format == WeightFormat::kInt4 || output < 3) continue;
      ASSERT_EQ(packed.bytes[static_cast<std::size_t>(i)], std::byte{0})
          << WeightFormatName(format) << " " << i;
    }
  }
}

TEST(PackInt4Panel, PutsGivenCodesWhereRoundedOnesGo) {
  std::mt19937 random(3);
  for (const std::int64_t inputs : {1, 4, 9, 127, 128, 129, 300}) {
    for (const std::int64_t outputs : {1, 5, 16}) {
      const Matrix matrix = RandomMatrix(outputs, inputs, random);
      std::vector<std::uint8_t> codes(matrix.rows.size());
      std::vector<quant::Int4Scale> scales;
      for (std::int64_t o = 0; o < outputs; ++o) {
        for (std::int64_t first = 0; first < inputs; first += quant::kInt4Group) {
          const auto count = static_cast<std::size_t>(std::min(quant::kInt4Group, inputs - first));
          const auto begin = static_cast<std::size_t>(o * inputs + first);
          scales.push_back(quant::QuantizeInt4(std::span(matrix.rows).subspan(begin, count),
                                               std::span(codes).subspan(begin, count)));
        }
      }
      auto buffer = Take(base::AlignedBuffer::Make(PanelBytes(WeightFormat::kInt4, inputs)));

      PackInt4Panel(codes, scales, inputs, buffer.data());

      const Panel expected = Expected(matrix, WeightFormat::kInt4);
      EXPECT_TRUE(std::equal(expected.bytes.begin(), expected.bytes.end(), buffer.data()))
          << outputs << " x " << inputs;
    }
  }
}

TEST_P(Pack, RoundsEmbeddingRows) {
  std::mt19937 random(2);
  for (const std::int64_t count : {1, 8, 15, 16, 17, 64, 515}) {
    const std::vector<float> row = RandomFloats(count, random);
    for (const WeightFormat format : kPackedFormats) {
      auto out = Take(base::AlignedBuffer::Make(EmbeddingRowBytes(format, count)));

      float scale = 0;
      KernelsOf(GetParam())
          .pack_embedding({row.data(), WeightFormat::kF32, 1, count}, format, out.data(), &scale);

      std::vector<float> expected = row;
      quant::RoundTo(EmbeddingFormat(format), expected);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const WeightFormat held = EmbeddingFormat(format);
        const float value =
            held == WeightFormat::kInt8   ? static_cast<float>(out.as<std::int8_t>()[at]) * scale
            : held == WeightFormat::kBf16 ? tensor::FloatFromBf16(out.as<std::uint16_t>()[at])
            : held == WeightFormat::kF16  ? tensor::FloatFromF16(out.as<std::uint16_t>()[at])
                                          : out.as<float>()[at];
        EXPECT_EQ(value, expected[at]) << WeightFormatName(format) << " " << count << ": " << i;
      }
    }
  }
}

CODEGEN_ON_EVERY_LEVEL(Pack);

}  // namespace
}  // namespace codegen::cpu
