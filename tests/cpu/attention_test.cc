// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "backend/backend.h"
#include "cpu/cpu_testing.h"
#include "cpu/ragged.h"
#include "support/reference_backend.h"

namespace codegen::cpu {
namespace {

using backend::Heads;
using backend::RotaryPairs;
using testing::ReferenceBackend;
using testing::ReferenceDevice;

class AttentionTest : public CpuTest {
 protected:
  // A score is a sum of dim products of rotated normal numbers, its error about 4 dim 2^-24 (six
  // times the root of the additions, times the root of dim in size); it moves a weight twice, as
  // numerator and denominator, and values are of size one.
  static double Tolerance(const Heads& heads) { return (8.0 * heads.dim + 64) * 0x1p-24; }

  // Runs sequences of these lengths in random steps on both backends.
  void ExpectSame(const Heads& heads, const std::vector<int>& lengths, int most_rows) {
    Ragged sequences(lengths, random_);
    auto kv = Take(cpu_.device.MakeKvLayer(sequences.pages_total(), heads));
    auto reference_kv = Take(reference_device_.MakeKvLayer(sequences.pages_total(), heads));
    FillWithNan(kv);
    const std::int64_t width = std::int64_t{heads.count} * heads.dim;
    std::uniform_int_distribution<int> count(0, most_rows);
    while (!sequences.complete()) {
      std::vector<int> counts(lengths.size());
      std::generate(counts.begin(), counts.end(), [&] { return count(random_); });
      const Step step = sequences.Take(counts);
      const std::int64_t rows = step.rows().size();
      if (rows == 0) continue;
      const std::vector<float> x = RandomFloats(rows * 3 * width, random_);
      Tensor y = Take(cpu_.device.MakeTensor(rows, width));
      auto expected = Take(reference_device_.MakeTensor(rows, width));

      cpu_.backend.Attend(Upload(cpu_.device, x, 3 * width), step.rows(), heads, kv, y);
      reference_.Attend(Upload(reference_device_, x, 3 * width), step.rows(), heads, reference_kv,
                        expected);

      ExpectNear(Download(cpu_.device, y), Download(reference_device_, expected), heads);
    }
  }

  void ExpectNear(const std::vector<float>& ours, const std::vector<float>& right,
                  const Heads& heads) {
    for (std::size_t i = 0; i < right.size(); ++i)
      ASSERT_NEAR(ours[i], right[i], Tolerance(heads))
          << "element " << i << " of heads of " << heads.dim << ", " << heads.rotary_dim
          << " rotating";
  }

  // As a page that served another sequence: nothing of it may show.
  static void FillWithNan(KvLayer& kv) {
    std::ranges::fill(kv.buffer.as<float>(), std::numeric_limits<float>::quiet_NaN());
  }

  Cpu cpu_{2, {.level = GetParam()}};
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
  // Query and key 20 agree at a scale where exp of the score itself would overflow: the running
  // maximum has to move in the second page.
  const Heads heads{.count = 1, .dim = 8, .rotary_dim = 0};
  Tensor x = Take(cpu_.device.MakeTensor(32, 24));
  for (std::int64_t t = 0; t < 32; ++t) {
    std::fill_n(x.row(t), 8, 20.0F);
    std::fill_n(x.row(t) + 8, 8, t == 20 ? 20.0F : -20.0F);
    std::fill_n(x.row(t) + 16, 8, static_cast<float>(t));
  }
  KvLayer kv = Take(cpu_.device.MakeKvLayer(2, heads));
  Tensor y = Take(cpu_.device.MakeTensor(32, 8));
  std::mt19937 random(1);
  const Step step = Ragged({32}, random).Take({32});

  cpu_.backend.Attend(x, step.rows(), heads, kv, y);

  for (std::int64_t t = 0; t < 32; ++t)
    EXPECT_NEAR(y.row(t)[0], t < 20 ? static_cast<double>(t) / 2 : 20.0, 1e-5) << t;
}

CODEGEN_ON_EVERY_LEVEL(AttentionTest);

}  // namespace
}  // namespace codegen::cpu
