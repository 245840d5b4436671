// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "tensor/half.h"

namespace codegen::model {
namespace {

using ::testing::HasSubstr;

// A matrix of 10 n plus the row number.
backend::MatrixSource Counting(std::int64_t rows, std::int64_t columns, float n) {
  return {.rows = rows,
          .columns = columns,
          .read = [columns, n](std::int64_t first, std::int64_t, std::span<float> out) {
            for (std::size_t i = 0; i < out.size(); ++i) {
              out[i] = 10 * n + static_cast<float>(first + static_cast<std::int64_t>(i) / columns);
            }
            return absl::OkStatus();
          }};
}

std::vector<float> ReadRows(const backend::MatrixSource& source, std::int64_t first,
                            std::int64_t count) {
  std::vector<float> rows(static_cast<std::size_t>(count * source.columns));
  EXPECT_TRUE(source.read(first, count, rows).ok());
  return rows;
}

std::string FingerprintOf(const std::string& name, float n, std::int64_t block) {
  RowInspector inspector(RowInspector::Finite::kRequire);
  const backend::MatrixSource source = inspector.Inspect(name, Counting(12, 3, n));
  for (std::int64_t first = 0; first < 12; first += block) ReadRows(source, first, block);
  return inspector.Fingerprint();
}

TEST(Stacked, ReadsAcrossItsParts) {
  const backend::MatrixSource stacked =
      Stacked({Counting(2, 1, 1), Counting(3, 1, 2), Counting(1, 1, 3)});

  EXPECT_EQ(stacked.rows, 6);
  EXPECT_EQ(ReadRows(stacked, 0, 6), (std::vector<float>{10, 11, 20, 21, 22, 30}));
  EXPECT_EQ(ReadRows(stacked, 1, 3), (std::vector<float>{11, 20, 21}));
  EXPECT_EQ(ReadRows(stacked, 5, 1), (std::vector<float>{30}));
}

TEST(RowInspector, FingerprintDoesNotDependOnHowRowsAreRead) {
  EXPECT_EQ(FingerprintOf("a", 1, 12), FingerprintOf("a", 1, 1));
  EXPECT_EQ(FingerprintOf("a", 1, 12), FingerprintOf("a", 1, 4));
}

TEST(RowInspector, FingerprintDependsOnNameAndValues) {
  EXPECT_NE(FingerprintOf("a", 1, 12), FingerprintOf("b", 1, 12));
  EXPECT_NE(FingerprintOf("a", 1, 12), FingerprintOf("a", 2, 12));
}

// `bits` [rows, columns] of `stored`, and the same as float32.
backend::MatrixSource StoredSource(std::vector<std::uint16_t> bits, std::int64_t columns,
                                   WeightFormat stored) {
  const auto widen = stored == WeightFormat::kF16 ? tensor::FloatFromF16 : tensor::FloatFromBf16;
  return {.rows = std::ssize(bits) / columns,
          .columns = columns,
          .read =
              [bits, columns, widen](std::int64_t first, std::int64_t, std::span<float> out) {
                std::transform(bits.begin() + first * columns,
                               bits.begin() + first * columns + std::ssize(out), out.begin(),
                               widen);
                return absl::OkStatus();
              },
          .read_stored =
              [bits, columns](std::int64_t first, std::int64_t, std::span<std::uint16_t> out) {
                std::copy_n(bits.begin() + first * columns, out.size(), out.begin());
                return absl::OkStatus();
              },
          .stored = stored};
}

TEST(Stacked, ReadsBitsAcrossPartsOfOneType) {
  const auto part = [](std::uint16_t bits, WeightFormat stored) {
    return StoredSource({bits, bits}, 1, stored);
  };
  std::vector<std::uint16_t> bits(4);

  const backend::MatrixSource same =
      Stacked({part(1, WeightFormat::kF16), part(2, WeightFormat::kF16)});
  const backend::MatrixSource mixed =
      Stacked({part(1, WeightFormat::kF16), part(2, WeightFormat::kBf16)});

  ASSERT_TRUE(same.read_stored(0, 4, bits).ok());
  EXPECT_EQ(bits, (std::vector<std::uint16_t>{1, 1, 2, 2}));
  EXPECT_EQ(same.stored, WeightFormat::kF16);
  EXPECT_FALSE(mixed.read_stored);
  EXPECT_EQ(ReadRows(mixed, 0, 4).size(), 4U);
}

TEST(RowInspector, FingerprintIsThatOfTheValuesHoweverTheyAreRead) {
  for (const WeightFormat stored : {WeightFormat::kF16, WeightFormat::kBf16}) {
    std::vector<std::uint16_t> bits(7 * 100);
    for (std::size_t i = 0; i < bits.size(); ++i)
      bits[i] = static_cast<std::uint16_t>(i * 41 % 0x7800);
    const backend::MatrixSource source = StoredSource(bits, 100, stored);
    RowInspector floats(RowInspector::Finite::kRequire);
    RowInspector as_stored(RowInspector::Finite::kRequire);

    ReadRows(floats.Inspect("w", source), 0, 7);
    const backend::MatrixSource inspected = as_stored.Inspect("w", source);
    ASSERT_TRUE(inspected.read_stored(3, 4, std::span(bits).first(400)).ok());
    ASSERT_TRUE(inspected.read_stored(0, 3, std::span(bits).first(300)).ok());

    EXPECT_EQ(floats.Fingerprint(), as_stored.Fingerprint());
  }
}

TEST(RowInspector, RefusesNanAndInfinityAsTheyAreStored) {
  for (const std::uint16_t bad : std::to_array<std::uint16_t>({0x7C00, 0xFC00, 0x7C01, 0xFFFF})) {
    std::vector<std::uint16_t> bits(3 * 70, 0x7BFF);
    bits[2 * 70 + 69] = bad;
    const backend::MatrixSource source = StoredSource(bits, 70, WeightFormat::kF16);
    RowInspector strict(RowInspector::Finite::kRequire);
    RowInspector lenient(RowInspector::Finite::kIgnore);

    const absl::Status status =
        strict.Inspect("w", source).read_stored(1, 2, std::span(bits).first(140));

    EXPECT_THAT(std::string(status.message()), HasSubstr("tensor \"w\": row 2"));
    EXPECT_TRUE(lenient.Inspect("w", source).read_stored(1, 2, std::span(bits).first(140)).ok());
  }
}

TEST(RowInspector, S14RefusesNanAndInfinity) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    const backend::MatrixSource source{
        .rows = 1, .columns = 40, .read = [bad](std::int64_t, std::int64_t, std::span<float> out) {
          for (float& value : out) value = std::numeric_limits<float>::max();
          out[37] = bad;
          return absl::OkStatus();
        }};
    RowInspector strict(RowInspector::Finite::kRequire);
    RowInspector lenient(RowInspector::Finite::kIgnore);
    std::vector<float> row(40);

    const absl::Status status = strict.Inspect("w", source).read(0, 1, row);

    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr("tensor \"w\": row 0"));
    EXPECT_TRUE(lenient.Inspect("w", source).read(0, 1, row).ok());
  }
}

TEST(RandomSource, GivesTheSameRowsHoweverTheyAreRead) {
  const RandomSource source;
  const auto matrix = source.Open({"m", {20, 30}});
  ASSERT_TRUE(matrix.ok());

  const std::vector<float> all = ReadRows(*matrix, 0, 20);
  const std::vector<float> some = ReadRows(*matrix, 7, 2);

  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + 7 * 30));
  for (const float value : all) EXPECT_LE(std::abs(value), 0.05F);
}

}  // namespace
}  // namespace codegen::model
