// SPDX-License-Identifier: Apache-2.0
//
// The products of attention in tiles, over emulated ones (emulated_tiles.h), on every machine:
// against sums in doubles, and bit for bit against a row alone. attention_test.cc runs them whole
// where the machine has AMX.
#include "cpu/attention_amx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "cpu/emulated_tiles.h"
#include "tensor/half.h"

namespace codegen::cpu {
namespace {

using ::testing::IsEmpty;

using Tiles = AmxAttention<EmulatedTiles>;

constexpr std::int64_t kPositions = backend::kPageTokens;
constexpr int kMostRows = 16;
constexpr int kMostPages = 4;
constexpr float kUntouched = 77;

std::size_t At(std::int64_t i) { return static_cast<std::size_t>(i); }

class AmxAttentionTest : public ::testing::Test {
 protected:
  using Halves = std::vector<std::uint16_t>;

  void TearDown() override {
    EmulatedTiles::Release();
    EXPECT_THAT(EmulatedTiles::TakeComplaints(), IsEmpty());
  }

  Halves RandomHalves(std::int64_t count) {
    Halves halves(At(count));
    for (std::uint16_t& half : halves) half = tensor::Bf16FromFloat(normal_(random_));
    return halves;
  }

  static double Value(const Halves& halves, std::int64_t i) {
    return std::bit_cast<float>(std::uint32_t{halves[At(i)]} << 16);
  }

  // Element (i, j) of [rows / 2][columns][2].
  static std::int64_t Paired(std::int64_t i, std::int64_t j, std::int64_t columns) {
    return (i / 2 * columns + j) * 2 + i % 2;
  }

  static const std::byte* Bytes(const Halves& halves, std::int64_t first = 0) {
    return reinterpret_cast<const std::byte*>(halves.data() + first);
  }

  std::vector<Halves> RandomPages(int pages, std::int64_t dim) {
    std::vector<Halves> result;
    for (int page = 0; page < pages; ++page) result.push_back(RandomHalves(dim * kPositions));
    return result;
  }

  static std::array<const std::byte*, kMostPages> PointersTo(const std::vector<Halves>& pages) {
    std::array<const std::byte*, kMostPages> pointers = {};
    for (std::size_t i = 0; i < pages.size(); ++i) pointers[i] = Bytes(pages[i]);
    return pointers;
  }

  std::mt19937 random_{20261123};
  std::normal_distribution<float> normal_;
};

TEST_F(AmxAttentionTest, ScoresAreDotProductsOfQueriesAndKeys) {
  for (const std::int64_t dim : {16, 32, 48, 64, 80, 256}) {
    const std::int64_t stride = 2 * dim;  // rounded in place: bf16 in the first half of a row
    const Halves q = RandomHalves(kMostRows * stride);
    for (int pages = 1; pages <= kMostPages; ++pages) {
      const std::vector<Halves> keys = RandomPages(pages, dim);
      const auto pointers = PointersTo(keys);
      for (const int rows : {1, 2, 7, 16}) {
        std::vector<float> scores(At(kMostRows * kMostPages * kPositions), kUntouched);
        Tiles::Configure(rows);

        Tiles::Score(Bytes(q), stride * 2, pointers.data(), pointers.data(), pages, dim,
                     reinterpret_cast<std::byte*>(scores.data()), kMostPages * kPositions * 4);

        for (std::int64_t i = 0; i < std::ssize(scores); ++i) {
          const std::int64_t row = i / (kMostPages * kPositions);
          const std::int64_t position = i % (kMostPages * kPositions);
          const std::int64_t page = position / kPositions;
          if (row >= rows || page >= pages) {
            ASSERT_EQ(scores[At(i)], kUntouched) << "row " << row << " of " << rows;
            continue;
          }
          double right = 0;
          for (std::int64_t d = 0; d < dim; ++d)
            right += Value(q, row * stride + d) *
                     Value(keys[At(page)], Paired(d, position % kPositions, kPositions));
          ASSERT_NEAR(scores[At(i)], right, std::ldexp(static_cast<double>(dim), -20))
              << "row " << row << ", position " << position << ", dim " << dim;
        }
      }
    }
  }
}

TEST_F(AmxAttentionTest, WeighedValuesAreAdded) {
  constexpr std::int64_t kStride = kMostPages * kPositions;  // of weights
  const Halves weights = RandomHalves(kMostRows * kStride);
  for (const std::int64_t columns : {16, 32, 48, 64, 80, 256}) {
    for (int pages = 1; pages <= kMostPages; ++pages) {
      const std::vector<Halves> values = RandomPages(pages, columns);
      const auto pointers = PointersTo(values);
      for (const int rows : {1, 2, 7, 16}) {
        std::vector<float> o(At(kMostRows * columns), kUntouched);
        Tiles::Configure(rows);

        Tiles::Weigh(Bytes(weights), kStride * 2, pointers.data(), pointers.data(), pages, columns,
                     reinterpret_cast<std::byte*>(o.data()));

        for (std::int64_t i = 0; i < std::ssize(o); ++i) {
          const std::int64_t row = i / columns;
          double right = kUntouched;
          for (std::int64_t p = 0; row < rows && p < pages * kPositions; ++p)
            right +=
                Value(weights, row * kStride + p) *
                Value(values[At(p / kPositions)], Paired(p % kPositions, i % columns, columns));
          ASSERT_NEAR(o[At(i)], right, 0x1p-12) << "row " << row << " of " << rows;
        }
      }
    }
  }
}

TEST_F(AmxAttentionTest, ARowHasTheSameBitsWhateverIsBesideIt) {
  constexpr std::int64_t kDim = 80;
  const Halves rows = RandomHalves(kMostRows * kDim);
  const std::vector<Halves> pages = RandomPages(kMostPages, kDim);
  const auto pointers = PointersTo(pages);
  const auto run = [&](std::int64_t first, int count) {
    std::vector<float> result(At(count * (kMostPages * kPositions + kDim)));
    float* const o = result.data() + count * kMostPages * kPositions;
    Tiles::Configure(count);
    Tiles::Score(Bytes(rows, first * kDim), kDim * 2, pointers.data(), nullptr, kMostPages, kDim,
                 reinterpret_cast<std::byte*>(result.data()), kMostPages * kPositions * 4);
    Tiles::Weigh(Bytes(rows, first * kDim), kDim * 2, pointers.data(), nullptr, kMostPages, kDim,
                 reinterpret_cast<std::byte*>(o));
    return result;
  };
  const std::vector<float> together = run(0, kMostRows);
  for (std::int64_t row = 0; row < kMostRows; ++row) {
    const std::vector<float> alone = run(row, 1);
    for (std::int64_t i = 0; i < std::ssize(alone); ++i) {
      constexpr std::int64_t kScores = kMostPages * kPositions;
      const std::int64_t place =
          i < kScores ? row * kScores + i : kMostRows * kScores + row * kDim + i - kScores;
      ASSERT_EQ(alone[At(i)], together[At(place)]) << "row " << row << ", element " << i;
    }
  }
}

}  // namespace
}  // namespace codegen::cpu
