// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

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
