// SPDX-License-Identifier: Apache-2.0
#include "model/qkv_layout.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace codegen::model {
namespace {

// Rows of query, value and key of one head, worked out by hand from the published shapes.
struct Known {
  int groups, heads, dim, head;
  std::int64_t query, value, key;
};

TEST(QkvLayout, FindsPublishedRows) {
  for (const Known& known : {Known{4, 16, 64, 5, 832, 1088, 1344},       // CodeGen1-350M
                             Known{8, 16, 128, 5, 1664, 1920, 2176},     // CodeGen2-1B
                             Known{4, 16, 256, 5, 3328, 4352, 5376}}) {  // CodeGen2-7B
    const backend::Heads heads{.count = known.heads, .dim = known.dim};
    const std::int64_t width = known.heads * known.dim;
    const std::int64_t row = known.head * known.dim;
    EXPECT_EQ(StoredQkvRow(row, heads, known.groups), known.query);
    EXPECT_EQ(StoredQkvRow(width + row, heads, known.groups), known.key);
    EXPECT_EQ(StoredQkvRow(2 * width + row, heads, known.groups), known.value);
  }
}

// The rows as an engineer would cut them out of the matrix viewed as [G, (q, v, k), heads of a
// group, D].
TEST(QkvLayout, UngroupsLikeNestedLoops) {
  const backend::Heads heads{.count = 8, .dim = 8};
  const int groups = 4;
  std::vector<float> expected(3 * 64);
  int stored = 0;
  for (int group = 0; group < groups; ++group) {
    for (const int kind : {0, 2, 1}) {
      for (int head = group * 2; head < group * 2 + 2; ++head) {
        for (int d = 0; d < 8; ++d)
          expected[static_cast<std::size_t>(kind * 64 + head * 8 + d)] =
              static_cast<float>(stored++);
      }
    }
  }
  const backend::MatrixSource source{
      .rows = 192,
      .columns = 1,
      .read =
          [](std::int64_t first, std::int64_t count, std::span<float> out) {
            for (std::int64_t i = 0; i < count; ++i)
              out[static_cast<std::size_t>(i)] = static_cast<float>(first + i);
            return absl::OkStatus();
          },
      .read_stored =
          [](std::int64_t first, std::int64_t, std::span<std::uint16_t> out) {
            std::iota(out.begin(), out.end(), static_cast<std::uint16_t>(first));
            return absl::OkStatus();
          },
      .stored = WeightFormat::kBf16};
  const backend::MatrixSource ungrouped = UngroupedQkv(source, heads, groups);

  // In blocks of every size, so that runs are cut everywhere.
  for (const std::int64_t block : {1, 3, 8, 16, 192}) {
    std::vector<float> found(192);
    for (std::int64_t first = 0; first < 192; first += block) {
      const std::int64_t count = std::min<std::int64_t>(block, 192 - first);
      ASSERT_TRUE(ungrouped
                      .read(first, count,
                            std::span(found).subspan(static_cast<std::size_t>(first),
                                                     static_cast<std::size_t>(count)))
                      .ok());
    }
    EXPECT_EQ(found, expected) << "blocks of " << block;
  }
  std::vector<std::uint16_t> bits(192);
  ASSERT_TRUE(ungrouped.read_stored(0, 192, bits).ok());
  EXPECT_EQ(std::vector<float>(bits.begin(), bits.end()), expected);
  EXPECT_EQ(ungrouped.stored, WeightFormat::kBf16);
}

}  // namespace
}  // namespace codegen::model
