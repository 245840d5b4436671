// SPDX-License-Identifier: Apache-2.0
#include "cuda/pack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "cuda/kernels/linear.h"
#include "quant/format.h"
#include "tensor/half.h"

namespace codegen::cuda {
namespace {

constexpr std::byte kUntouched{0xA5};

struct PackedRow {
  std::vector<std::byte> elements;
  std::vector<std::byte> scales;

  template <class T>
  T Element(std::size_t i) const {
    T value;
    std::memcpy(&value, elements.data() + i * sizeof value, sizeof value);
    return value;
  }
  template <class T>
  T Scale(std::size_t i) const {
    T value;
    std::memcpy(&value, scales.data() + i * sizeof value, sizeof value);
    return value;
  }
};

PackedRow Packed(const RowLayout& layout, const std::vector<float>& row) {
  PackedRow packed{std::vector<std::byte>(static_cast<std::size_t>(layout.elements), kUntouched),
                   std::vector<std::byte>(static_cast<std::size_t>(layout.scales), kUntouched)};
  PackRow(layout, row, packed.elements.data(), packed.scales.data());
  return packed;
}

PackedRow PackedWeight(WeightFormat format, const std::vector<float>& row) {
  return Packed(WeightLayout(format, static_cast<std::int64_t>(row.size())), row);
}

std::vector<float> NormalRow(std::size_t columns) {
  std::mt19937 random(static_cast<unsigned>(columns));
  std::normal_distribution<float> normal;
  std::vector<float> row(columns);
  std::ranges::generate(row, [&] { return normal(random); });
  return row;
}

// The code of input `i` of a row of int4.
unsigned CodeAt(const PackedRow& packed, std::size_t i) {
  return packed.Element<Int4Word>(i / 8).codes >> Int4Word::Bit(static_cast<int>(i % 8)) & 15U;
}

using Bytes = std::pair<std::int64_t, std::int64_t>;

Bytes BytesOfRow(const RowLayout& layout) { return {layout.elements, layout.scales}; }

// --- Layouts ------------------------------------------------------------------------------------

TEST(WeightRowLayout, FillsRowsUpToSixteenBytes) {
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kF32, 8)), Bytes(32, 0));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kF32, 5)), Bytes(32, 0));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kBf16, 8)), Bytes(16, 0));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kBf16, 9)), Bytes(32, 0));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kF16, 24)), Bytes(48, 0));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kF16, 1)), Bytes(16, 0));
}

TEST(WeightRowLayout, HasAScaleForEachRowOfInt8AndEachGroupOfInt4) {
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kInt8, 16)), Bytes(16, 4));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kInt8, 24)), Bytes(32, 4));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kInt4, 8)), Bytes(16, 4));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kInt4, 128)), Bytes(64, 4));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kInt4, 136)), Bytes(80, 8));
  EXPECT_EQ(BytesOfRow(WeightLayout(WeightFormat::kInt4, 264)), Bytes(144, 12));
}

TEST(EmbeddingRowLayout, LeavesNoGaps) {
  EXPECT_EQ(BytesOfRow(EmbeddingLayout(WeightFormat::kF32, 9)), Bytes(36, 0));
  EXPECT_EQ(BytesOfRow(EmbeddingLayout(WeightFormat::kBf16, 9)), Bytes(18, 0));
  EXPECT_EQ(BytesOfRow(EmbeddingLayout(WeightFormat::kF16, 9)), Bytes(18, 0));
  EXPECT_EQ(BytesOfRow(EmbeddingLayout(WeightFormat::kInt8, 9)), Bytes(9, 4));
}

TEST(EmbeddingRowLayout, HoldsInt4AsInt8) {
  const RowLayout layout = EmbeddingLayout(WeightFormat::kInt4, 130);

  EXPECT_EQ(layout.format, WeightFormat::kInt8);
  EXPECT_EQ(layout.columns, 130);
  EXPECT_EQ(BytesOfRow(layout), Bytes(130, 4));
}

TEST(WeightRowLayout, FillsUpByLessThanSixteenBytes) {
  for (const auto& [format, bits] : {std::pair{WeightFormat::kF32, 32},
                                     {WeightFormat::kBf16, 16},
                                     {WeightFormat::kF16, 16},
                                     {WeightFormat::kInt8, 8},
                                     {WeightFormat::kInt4, 4}}) {
    for (std::int64_t columns = 8; columns <= 400; columns += 8) {
      const RowLayout layout = WeightLayout(format, columns);
      EXPECT_EQ(layout.format, format);
      EXPECT_EQ(layout.columns, columns);
      EXPECT_EQ(layout.elements % 16, 0);
      EXPECT_EQ((layout.elements - columns * bits / 8) / 16, 0)
          << WeightFormatName(format) << ", " << columns;
      EXPECT_GE(layout.elements, columns * bits / 8);
    }
  }
}

// --- Rows ---------------------------------------------------------------------------------------

TEST(PackRow, CopiesFloats) {
  const std::vector<float> row = {1.5F, -0.0F, std::numeric_limits<float>::denorm_min()};

  const PackedRow packed = PackedWeight(WeightFormat::kF32, row);

  EXPECT_EQ(std::memcmp(packed.elements.data(), row.data(), 12), 0);
}

TEST(PackRow, RoundsTiesOfBf16ToEven) {
  const std::vector<float> row = {1 + 0x1p-8F,    1 + 3 * 0x1p-8F, 1 + 0x1p-8F + 0x1p-20F,
                                  -(1 + 0x1p-8F), -0.0F,           0x1.FEp127F,
                                  0x1.FFp127F,    std::nanf("")};

  const PackedRow packed = PackedWeight(WeightFormat::kBf16, row);

  const std::uint16_t expected[] = {0x3F80, 0x3F82, 0x3F81, 0xBF80, 0x8000, 0x7F7F, 0x7F80, 0x7FC0};
  for (std::size_t i = 0; i < row.size(); ++i)
    EXPECT_EQ(packed.Element<std::uint16_t>(i), expected[i]) << i;
}

TEST(PackRow, RoundsTiesOfF16ToEven) {
  const std::vector<float> row = {1 + 0x1p-11F,    1 + 3 * 0x1p-11F, 1 + 0x1p-11F + 0x1p-20F,
                                  -(1 + 0x1p-11F), 0x1p-25F,         3 * 0x1p-25F,
                                  65519.0F,        65520.0F};

  const PackedRow packed = PackedWeight(WeightFormat::kF16, row);

  const std::uint16_t expected[] = {0x3C00, 0x3C02, 0x3C01, 0xBC00, 0x0000, 0x0002, 0x7BFF, 0x7C00};
  for (std::size_t i = 0; i < row.size(); ++i)
    EXPECT_EQ(packed.Element<std::uint16_t>(i), expected[i]) << i;
}

TEST(PackRow, RoundsHalvesAsEveryoneDoes) {
  const std::vector<float> row = NormalRow(333);

  const PackedRow bf16 = Packed(EmbeddingLayout(WeightFormat::kBf16, 333), row);
  const PackedRow f16 = Packed(EmbeddingLayout(WeightFormat::kF16, 333), row);

  for (std::size_t i = 0; i < row.size(); ++i) {
    ASSERT_EQ(bf16.Element<std::uint16_t>(i), tensor::Bf16FromFloat(row[i])) << i;
    ASSERT_EQ(f16.Element<std::uint16_t>(i), tensor::F16FromFloat(row[i])) << i;
  }
}

TEST(PackRow, StoresTheScaleOfInt8ApartFromItsCodes) {
  const std::vector<float> row = {-254, 127, 1, 3, 254, 0, -5, 100};

  const PackedRow packed = PackedWeight(WeightFormat::kInt8, row);

  EXPECT_EQ(packed.Scale<float>(0), 2.0F);
  const std::int8_t expected[] = {-127, 64, 0, 2, 127, 0, -2, 50};  // 63.5, 0.5, 1.5, -2.5: to even
  for (std::size_t i = 0; i < row.size(); ++i)
    EXPECT_EQ(packed.Element<std::int8_t>(i), expected[i]) << i;
}

TEST(PackRow, RoundsToInt8AsTheFormatSays) {
  for (const std::size_t columns : {1U, 8U, 24U, 129U}) {
    const std::vector<float> row = NormalRow(columns);
    std::vector<std::int8_t> codes(columns);
    const float scale = quant::QuantizeInt8(row, codes);

    const PackedRow packed = PackedWeight(WeightFormat::kInt8, row);

    EXPECT_EQ(packed.Scale<float>(0), scale);
    EXPECT_EQ(std::memcmp(packed.elements.data(), codes.data(), columns), 0) << columns;
  }
}

TEST(PackRow, PutsEvenInputsOfInt4IntoTheLowerHalfOfAWord) {
  std::vector<float> row(128);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i % 16);

  const PackedRow packed = PackedWeight(WeightFormat::kInt4, row);

  EXPECT_EQ(packed.Scale<quant::Int4Scale>(0).scale, tensor::F16FromFloat(1));
  EXPECT_EQ(packed.Scale<quant::Int4Scale>(0).minimum, tensor::F16FromFloat(0));
  for (std::size_t word = 0; word < 16; ++word)
    EXPECT_EQ(packed.Element<std::uint32_t>(word), word % 2 == 0 ? 0x75316420U : 0xFDB9ECA8U);
}

// The last group of all but 128 is short; that of 130 ends within a word.
TEST(PackRow, RoundsEachGroupToInt4AsTheFormatSays) {
  for (const std::size_t columns : {8U, 128U, 130U, 136U, 264U}) {
    const std::vector<float> row = NormalRow(columns);

    const PackedRow packed = PackedWeight(WeightFormat::kInt4, row);

    for (std::size_t first = 0; first < columns; first += 128) {
      std::vector<std::uint8_t> codes(std::min<std::size_t>(128, columns - first));
      const quant::Int4Scale scale =
          quant::QuantizeInt4(std::span(row).subspan(first, codes.size()), codes);
      EXPECT_EQ(packed.Scale<quant::Int4Scale>(first / 128).scale, scale.scale);
      EXPECT_EQ(packed.Scale<quant::Int4Scale>(first / 128).minimum, scale.minimum);
      for (std::size_t i = 0; i < codes.size(); ++i)
        ASSERT_EQ(CodeAt(packed, first + i), codes[i]) << first + i << " of " << columns;
    }
  }
}

// What the kernels are told to make of it is what the format holds.
TEST(PackRow, OfInt4StandsForTheNumbersOfTheFormat) {
  const std::vector<float> row = NormalRow(200);
  std::vector<float> rounded = row;
  quant::RoundTo(WeightFormat::kInt4, rounded);

  const PackedRow packed = PackedWeight(WeightFormat::kInt4, row);

  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto code = static_cast<std::uint8_t>(CodeAt(packed, i));
    const quant::Int4Grid grid(packed.Scale<quant::Int4Scale>(i / 128));
    ASSERT_EQ(grid.Value(code), rounded[i]) << i;
  }
}

TEST(PackRow, LeavesWhatFillsUpAsItIs) {
  for (const auto& [format, columns, used] : {std::tuple{WeightFormat::kInt8, 24, 24},
                                              {WeightFormat::kInt4, 8, 4},
                                              {WeightFormat::kInt4, 136, 68},
                                              {WeightFormat::kF32, 5, 20},
                                              {WeightFormat::kBf16, 9, 18}}) {
    const PackedRow packed = PackedWeight(format, NormalRow(static_cast<std::size_t>(columns)));

    EXPECT_GT(packed.elements.size(), static_cast<std::size_t>(used));
    EXPECT_TRUE(std::all_of(packed.elements.begin() + used, packed.elements.end(),
                            [](std::byte byte) { return byte == kUntouched; }))
        << WeightFormatName(format) << ", " << columns;
  }
}

TEST(PackRow, PacksAnInt4EmbeddingAsInt8) {
  const std::vector<float> row = NormalRow(130);

  const PackedRow packed = Packed(EmbeddingLayout(WeightFormat::kInt4, 130), row);

  const PackedRow int8 = Packed(EmbeddingLayout(WeightFormat::kInt8, 130), row);
  EXPECT_EQ(packed.elements, int8.elements);
  EXPECT_EQ(packed.scales, int8.scales);
}

TEST(PackRow, OfWhatIsNotFiniteHasAScaleThatIsNot) {
  std::vector<float> row = NormalRow(136);
  row[130] = std::numeric_limits<float>::infinity();

  EXPECT_TRUE(std::isnan(PackedWeight(WeightFormat::kInt8, row).Scale<float>(0)));
  const PackedRow int4 = PackedWeight(WeightFormat::kInt4, row);
  EXPECT_TRUE(quant::Int4Grid(int4.Scale<quant::Int4Scale>(0)).IsFinite());
  EXPECT_FALSE(quant::Int4Grid(int4.Scale<quant::Int4Scale>(1)).IsFinite());
}

}  // namespace
}  // namespace codegen::cuda
