// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "codegen/options.h"
#include "cpu/cpu_testing.h"
#include "cpu/ragged.h"
#include "quant/format.h"
#include "support/reference_backend.h"

namespace codegen::cpu {
namespace {

using backend::Heads;
using backend::RotaryPairs;
using testing::ReferenceBackend;
using testing::ReferenceDevice;

// What the cache holds, and how it is multiplied.
struct Caching {
  KvFormat kv = KvFormat::kF32;
  ComputePrecision precision = ComputePrecision::kExact;
};

constexpr Caching kF32;
constexpr Caching kBf16{KvFormat::kBf16};
constexpr Caching kBf16Fast{KvFormat::kBf16, ComputePrecision::kFast};
constexpr Caching kAllCachings[] = {kF32, kBf16, kBf16Fast};

constexpr double kUnit = 0x1p-8;  // relative error of rounding to bf16, at most

class AttentionTest : public CpuTest {
 protected:
  CpuOptions OptionsOf(const Caching& caching) const {
    return {.level = GetParam(), .precision = caching.precision, .kv = caching.kv};
  }

  // Whether queries and weights are rounded to bf16 too.
  bool RoundsAll(const Caching& caching) const {
    return caching.precision == ComputePrecision::kFast && caching.kv == KvFormat::kBf16 &&
           GetParam() >= CpuFeatures::kAvx512Bf16;
  }

  // A score is a sum of dim products of rotated normal numbers, its error about 4 dim 2^-24 (six
  // times the root of the additions, times the root of dim in size); it moves a weight twice, as
  // numerator and denominator, and values are of size one. Where weights are rounded, they move by
  // a unit each, numerator and denominator, before values of at most six; which covers the rare
  // element of a query that float and double turn to different sides of a tie.
  double Tolerance(const Heads& heads, const Caching& caching) const {
    return (8.0 * heads.dim + 64) * 0x1p-24 + (RoundsAll(caching) ? 2 * 6 * kUnit : 0);
  }

  void ExpectSame(const Heads& heads, const std::vector<int>& lengths, int most_rows) {
    for (const Caching& caching : kAllCachings) ExpectSame(caching, heads, lengths, most_rows);
  }

  // Runs sequences of these lengths in random steps on both backends.
  void ExpectSame(const Caching& caching, const Heads& heads, const std::vector<int>& lengths,
                  int most_rows) {
    Cpu cpu(2, OptionsOf(caching));
    Ragged sequences(lengths, random_);
    auto kv = Take(cpu.device.MakeKvLayer(sequences.pages_total(), heads));
    auto reference_kv = Take(reference_device_.MakeKvLayer(sequences.pages_total(), heads));
    FillWithNan(kv);
    Heads turned = heads;
    turned.rotary_dim = 0;
    const std::int64_t width = std::int64_t{heads.count} * heads.dim;
    std::uniform_int_distribution<int> count(0, most_rows);
    while (!sequences.complete()) {
      std::vector<int> counts(lengths.size());
      std::generate(counts.begin(), counts.end(), [&] { return count(random_); });
      const Step step = sequences.Take(counts);
      const std::int64_t rows = step.rows().size();
      if (rows == 0) continue;
      const std::vector<float> x = RandomFloats(rows * 3 * width, random_);
      Tensor y = Take(cpu.device.MakeTensor(rows, width));
      auto expected = Take(reference_device_.MakeTensor(rows, width));

      cpu.backend.Attend(Upload(cpu.device, x, 3 * width), step.rows(), heads, kv, y);
      auto expected_x = Upload(reference_device_, x, 3 * width);
      for (std::int64_t t = 0; t < rows; ++t) {
        Turn(heads, caching, step.positions[static_cast<std::size_t>(t)], expected_x[t]);
        TakeFromCache(kv, step, t, expected_x[t]);
      }
      reference_.Attend(expected_x, step.rows(), turned, reference_kv, expected);

      ExpectNear(Download(cpu.device, y), Download(reference_device_, expected), heads, caching);
    }
  }

  void ExpectNear(const std::vector<float>& ours, const std::vector<float>& right,
                  const Heads& heads, const Caching& caching) {
    for (std::size_t i = 0; i < right.size(); ++i)
      ASSERT_NEAR(ours[i], right[i], Tolerance(heads, caching))
          << "element " << i << " of heads of " << heads.dim << ", " << heads.rotary_dim
          << " rotating, " << KvFormatName(caching.kv) << ", "
          << ComputePrecisionName(caching.precision);
  }

  // Turns queries and keys of a row q, k, v, and rounds the query where the kernel does.
  void Turn(const Heads& heads, const Caching& caching, std::int32_t position,
            std::span<double> row) {
    const auto dim = static_cast<std::size_t>(heads.dim);
    for (std::size_t h = 0; h < row.size() / 3 * 2; h += dim) {
      const std::span<double> head = row.subspan(h, dim);
      std::ranges::copy(ReferenceBackend::Rotate(head, position, heads), head.begin());
      if (!RoundsAll(caching) || h >= row.size() / 3) continue;
      std::vector<float> rounded(head.begin(), head.end());
      quant::RoundTo(WeightFormat::kBf16, rounded);
      std::ranges::copy(rounded, head.begin());
    }
  }

  // Replaces turned keys and values of row `t` by what the cache holds for them, which must be the
  // numbers next to them.
  static void TakeFromCache(const KvLayer& kv, const Step& step, std::int64_t t,
                            std::span<double> row) {
    const std::int32_t position = step.positions[static_cast<std::size_t>(t)];
    const std::int32_t first_page = step.first_page[step.sequence_of[static_cast<std::size_t>(t)]];
    const std::int64_t page =
        step.pages[static_cast<std::size_t>(first_page + position / backend::kPageTokens)];
    const std::int64_t slot = position % backend::kPageTokens;
    const std::int64_t dim = kv.heads.dim;
    const std::int64_t width = kv.heads.count * dim;
    for (std::int64_t i = 0; i < width; ++i) {
      const std::byte* const keys =
          kv.buffer.data() + page * kv.page_bytes() + i / dim * (kv.key_bytes + kv.value_bytes);
      const std::byte* const values = keys + kv.key_bytes;
      const std::int64_t d = i % dim;
      Replace(row[static_cast<std::size_t>(width + i)],
              keys + Place(d, slot, backend::kPageTokens, kv.format), kv.format);
      Replace(row[static_cast<std::size_t>(2 * width + i)],
              values + Place(slot, d, RoundUpToLine(dim), kv.format), kv.format);
    }
  }

  // Bytes to (row, column) of a page of rows of `columns`; in bf16 two rows are interleaved.
  static std::int64_t Place(std::int64_t row, std::int64_t column, std::int64_t columns,
                            KvFormat format) {
    if (format == KvFormat::kF32) return (row * columns + column) * 4;
    return ((row / 2 * columns + column) * 2 + row % 2) * 2;
  }

  // Half a bf16 apart, and what turning a pair of normal numbers costs in float.
  static void Replace(double& exact, const std::byte* held, KvFormat format) {
    const double half = std::ldexp(1.0, std::ilogb(exact) - 8);
    const double value = format == KvFormat::kBf16 ? Bf16At(held) : FloatAt(held);
    ASSERT_NEAR(value, exact, (format == KvFormat::kBf16 ? half : 0) + 8 * 0x1p-23);
    exact = value;
  }

  static float FloatAt(const std::byte* held) {
    float value;
    std::memcpy(&value, held, sizeof(value));
    return value;
  }

  static float Bf16At(const std::byte* held) {
    std::uint16_t bits;
    std::memcpy(&bits, held, sizeof(bits));
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }

  // As a page that served another sequence: nothing of it may show.
  static void FillWithNan(KvLayer& kv) {
    std::ranges::fill(kv.buffer.as<std::uint16_t>(), std::uint16_t{0x7FC0});  // in both formats
  }

  ReferenceDevice reference_device_;
  ReferenceBackend reference_;
  std::mt19937 random_{20261122};
};

TEST_P(AttentionTest, MatchesReferenceForAllHeadSizes) {
  for (const int dim : {8, 16, 24, 32, 40, 64, 80, 96, 104, 128, 256, 264, 520}) {
    for (const int rotary_dim : {0, std::min(64, dim), dim / 2, dim}) {
      for (const RotaryPairs pairs : {RotaryPairs::kInterleaved, RotaryPairs::kHalves}) {
        const Heads heads{.count = 2, .dim = dim, .rotary_dim = rotary_dim, .rotary_pairs = pairs};
        ExpectSame(heads, {1, 19, 40}, 21);
      }
    }
  }
}

TEST_P(AttentionTest, MatchesReferenceForAllSmallLengths) {
  const Heads heads{.count = 3, .dim = 16, .rotary_dim = 8};
  for (int first = 1; first <= 36; ++first) {
    ExpectSame(heads, {first}, first);
    ExpectSame(heads, {first, 37 - first}, 9);
  }
}

TEST_P(AttentionTest, MatchesReferenceInPureDecode) {
  const Heads heads{.count = 2, .dim = 32, .rotary_dim = 16};

  ExpectSame(heads, {35, 20, 33, 50, 1, 16, 17}, 1);
}

TEST_P(AttentionTest, MatchesReferenceOverLongSequences) {
  const Heads heads{.count = 2, .dim = 64, .rotary_dim = 32};

  ExpectSame(heads, {700, 300}, 256);
}

TEST_P(AttentionTest, FollowsAScoreThatOutgrowsAllOthers) {
  // Query and key 100 agree at a scale where exp of the score itself would overflow: the running
  // maximum has to move in the second block.
  for (const int dim : {8, 48}) {
    const Heads heads{.count = 1, .dim = dim, .rotary_dim = 0};
    for (const Caching& caching : kAllCachings) {
      Cpu cpu(2, OptionsOf(caching));
      Tensor x = Take(cpu.device.MakeTensor(112, 3 * dim));
      for (std::int64_t t = 0; t < 112; ++t) {
        std::fill_n(x.row(t), dim, 20.0F);
        std::fill_n(x.row(t) + dim, dim, t == 100 ? 20.0F : -20.0F);
        std::fill_n(x.row(t) + 2 * dim, dim, static_cast<float>(t));
      }
      KvLayer kv = Take(cpu.device.MakeKvLayer(7, heads));
      Tensor y = Take(cpu.device.MakeTensor(112, dim));
      const Step step = Ragged({112}, random_).Take({112});

      cpu.backend.Attend(x, step.rows(), heads, kv, y);

      for (std::int64_t t = 0; t < 112; ++t)
        EXPECT_NEAR(y.row(t)[0], t < 100 ? static_cast<double>(t) / 2 : 100.0, 2e-5) << t;
    }
  }
}

TEST_P(AttentionTest, ShowsNanToItsOwnAndLaterPositionsOnly) {
  for (const int dim : {8, 48}) {
    const Heads heads{.count = 1, .dim = dim, .rotary_dim = 4};
    for (const Caching& caching : kAllCachings) {
      for (const std::int64_t column : {0, dim, 2 * dim}) {  // in a query, a key, a value
        Cpu cpu(2, OptionsOf(caching));
        Tensor x = Upload(cpu.device, RandomFloats(90 * 3 * dim, random_), 3 * dim);
        x.row(37)[column] = std::numeric_limits<float>::quiet_NaN();
        KvLayer kv = Take(cpu.device.MakeKvLayer(6, heads));
        Tensor y = Take(cpu.device.MakeTensor(90, dim));
        const Step step = Ragged({90}, random_).Take({90});

        cpu.backend.Attend(x, step.rows(), heads, kv, y);

        for (std::int64_t t = 0; t < 90; ++t)
          EXPECT_EQ(std::isnan(y.row(t)[0]), column == 0 ? t == 37 : t >= 37) << t;
      }
    }
  }
}

TEST_P(AttentionTest, HoldsBf16InHalfTheMemory) {
  const Heads heads{.count = 3, .dim = 24, .rotary_dim = 8};
  Cpu f32(1, OptionsOf(kF32));
  Cpu bf16(1, OptionsOf(kBf16));

  const KvLayer whole = Take(f32.device.MakeKvLayer(5, heads));
  const KvLayer half = Take(bf16.device.MakeKvLayer(5, heads));

  EXPECT_EQ(whole.buffer.size(), 2 * half.buffer.size());
}

CODEGEN_ON_EVERY_LEVEL(AttentionTest);

}  // namespace
}  // namespace codegen::cpu
