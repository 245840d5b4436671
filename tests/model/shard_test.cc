// SPDX-License-Identifier: Apache-2.0
#include "model/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/sine_model.h"

namespace codegen::model {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Element (r, c) is 100 r + c, also as the bits of a number that is "stored".
backend::MatrixSource Numbers(std::int64_t rows, std::int64_t columns) {
  const auto fill = [columns](std::int64_t first, std::int64_t count, auto out) {
    for (std::int64_t i = 0; i < count * columns; ++i) {
      using Element = typename decltype(out)::element_type;
      out[static_cast<std::size_t>(i)] =
          static_cast<Element>(100 * (first + i / columns) + i % columns);
    }
    return absl::OkStatus();
  };
  return {.rows = rows,
          .columns = columns,
          .read = [fill](std::int64_t first, std::int64_t count,
                         std::span<float> out) { return fill(first, count, out); },
          .read_stored = [fill](std::int64_t first, std::int64_t count,
                                std::span<std::uint16_t> out) { return fill(first, count, out); },
          .stored = WeightFormat::kBf16};
}

std::vector<float> Read(const backend::MatrixSource& source, std::int64_t first,
                        std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count * source.columns));
  EXPECT_TRUE(source.read(first, count, out).ok());
  std::vector<std::uint16_t> stored(out.size());
  EXPECT_TRUE(source.read_stored(first, count, stored).ok());
  EXPECT_EQ(std::vector<float>(stored.begin(), stored.end()), out);
  return out;
}

TEST(RowsOf, AreTheRowsAsked) {
  const backend::MatrixSource part = RowsOf(Numbers(9, 2), 4, 3);

  EXPECT_EQ(part.rows, 3);
  EXPECT_EQ(part.columns, 2);
  EXPECT_EQ(part.stored, WeightFormat::kBf16);
  EXPECT_THAT(Read(part, 0, 3), ElementsAre(400, 401, 500, 501, 600, 601));
  EXPECT_THAT(Read(part, 1, 1), ElementsAre(500, 501));
}

TEST(RowsOf, AreZerosBehindTheEnd) {
  const backend::MatrixSource part = RowsOf(Numbers(5, 1), 3, 4);

  EXPECT_EQ(part.rows, 4);
  EXPECT_THAT(Read(part, 0, 4), ElementsAre(300, 400, 0, 0));
  EXPECT_THAT(Read(part, 2, 2), ElementsAre(0, 0));
  EXPECT_THAT(Read(RowsOf(Numbers(5, 1), 8, 2), 0, 2), ElementsAre(0, 0));
}

TEST(ColumnsOf, AreTheColumnsAsked) {
  const backend::MatrixSource part = ColumnsOf(Numbers(4, 6), 2, 3);

  EXPECT_EQ(part.rows, 4);
  EXPECT_EQ(part.columns, 3);
  EXPECT_THAT(Read(part, 1, 2), ElementsAre(102, 103, 104, 202, 203, 204));
}

TEST(Shards, MustDivideHeadsAndInnerFeatures) {
  const ModelConfig llama = testing::TinyLlama();  // 8 heads, 96 inner features

  for (const int count : {1, 2, 4, 8}) EXPECT_TRUE(CheckShards(llama, count).ok()) << count;
  for (const int count : {0, -1, 3, 16, 96}) {
    const absl::Status status = CheckShards(llama, count);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << count;
    EXPECT_THAT(
        std::string(status.message()),
        HasSubstr("must divide the 8 heads and the 96 inner features of a block: 1, 2, 4, 8"));
  }
}

TEST(Shards, HaveTheirPartOfHeadsAndInnerFeatures) {
  const ModelConfig part = ShardOf(testing::TinyLlama(), 4);

  EXPECT_EQ(part.heads.count, 2);
  EXPECT_EQ(part.attention_width(), 16);
  EXPECT_EQ(part.inner, 24);
  EXPECT_EQ(part.width, 64);
}

TEST(Shards, HoldTheOutputMatrixInWholeLines) {
  ModelConfig config = testing::TinyLlama();
  for (const int vocabulary : {1, 13, 16, 17, 50'257, 51'200}) {
    config.vocabulary = vocabulary;
    EXPECT_EQ(HeadRows(config, 1), vocabulary);
    for (const int count : {2, 3, 4, 8}) {
      EXPECT_EQ(HeadRows(config, count) % 16, 0);
      EXPECT_GE(HeadRows(config, count) * count, vocabulary);
      EXPECT_LT(HeadRows(config, count) * count, vocabulary + 16 * count);
    }
  }
}

}  // namespace
}  // namespace codegen::model
