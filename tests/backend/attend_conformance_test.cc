// SPDX-License-Identifier: Apache-2.0
//
// What every backend must satisfy, continued: attention over paged keys and values.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "backend/duo.h"
#include "backend/rows.h"
#include CODEGEN_SUBJECTS

namespace codegen::testing {
namespace {

using backend::Heads;
using backend::kPageTokens;
using backend::RotaryPairs;
using backend::Rows;

std::int64_t Width(const Heads& heads) { return std::int64_t{heads.count} * heads.dim; }

// The arrays of one step's Rows.
struct RowArrays {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> first_row = {0};
  std::vector<std::int32_t> first_page = {0};
  std::vector<std::int32_t> pages;

  void AddSequence(std::int32_t first_position, int rows, std::span<const std::int32_t> its_pages) {
    for (int i = 0; i < rows; ++i) positions.push_back(first_position + i);
    tokens.resize(positions.size());
    pages.insert(pages.end(), its_pages.begin(), its_pages.end());
    first_row.push_back(static_cast<std::int32_t>(positions.size()));
    first_page.push_back(static_cast<std::int32_t>(pages.size()));
  }

  Rows rows() const {
    return {.tokens = tokens,
            .positions = positions,
            .first_row = first_row,
            .first_page = first_page,
            .pages = pages,
            .logit_rows = {}};
  }
};

// A sequence whose q, k and v [tokens, 3 width] are drawn beforehand, so that it can be computed in
// different steps and beside different neighbours.
struct Sequence {
  std::vector<float> qkv;
  std::vector<std::int32_t> pages;
  std::int32_t length = 0;     // positions computed so far
  std::vector<float> outputs;  // [length, width], as the subject gave them
};

struct Part {
  Sequence* sequence;
  int rows;
};

// With entries up to m, a score is a sum of `dim` products after a rotation of three roundings, at
// most sqrt(dim) m^2 in magnitude (Cauchy and Schwarz); the exponential rounds its argument too. A
// weight is relatively off by twice the error of a score (its own and its share of the others'),
// and the weighted mean by that of a sum over the positions, in units of the largest value, m.
// Queries, keys, weights and the result are rounded as factors are, by `factor` of themselves.
double AttendError(const Heads& heads, std::int64_t positions, double m, double factor) {
  const double score =
      (SumError(heads.dim) + 6 * kRoundoff + 2 * factor) * std::sqrt(heads.dim) * m * m;
  return m * (2 * score + SumError(positions) + 6 * kRoundoff + 2 * factor);
}

// The same for one product of numbers up to 1, and `tolerance` where factors are not rounded.
template <class Subject>
double Near(double tolerance) {
  return tolerance + 8 * Subject::kFactorRoundoff;
}

template <class Subject>
class AttendConformance : public SubjectTest<Subject> {
 protected:
  using Kv = typename Duo<Subject>::KvLayer;

  // Pages in random order, handed out once each.
  void MakePages(std::int64_t pages) {
    free_pages_.resize(static_cast<std::size_t>(pages));
    std::iota(free_pages_.begin(), free_pages_.end(), 0);
    std::shuffle(free_pages_.begin(), free_pages_.end(), random_);
  }

  Sequence MakeSequence(const Heads& heads, int tokens, float magnitude = 1) {
    Sequence sequence{.qkv = Uniform(random_, tokens * 3 * Width(heads), magnitude)};
    for (int i = 0; i < tokens; i += kPageTokens) {
      sequence.pages.push_back(free_pages_.back());
      free_pages_.pop_back();
    }
    return sequence;
  }

  // Computes the next rows of each part in one step and compares them with the oracle.
  void Step(const Heads& heads, Kv& kv, const std::vector<Part>& parts, double magnitude = 1) {
    RowArrays arrays;
    std::vector<float> qkv;
    std::int64_t longest = 0;
    for (const Part& part : parts) {
      const Sequence& s = *part.sequence;
      arrays.AddSequence(s.length, part.rows, s.pages);
      const auto begin = s.qkv.begin() + s.length * 3 * Width(heads);
      qkv.insert(qkv.end(), begin, begin + part.rows * 3 * Width(heads));
      longest = std::max<std::int64_t>(longest, s.length + part.rows);
    }
    const auto x = duo_.MakeTensor(qkv, 3 * Width(heads), Holds::kFactors);
    auto y = duo_.MakeTensor(arrays.rows().size(), Width(heads), Holds::kFactors);

    duo_.Attend(x, arrays.rows(), heads, kv, y);

    const double tolerance = AttendError(heads, longest, magnitude, Subject::kFactorRoundoff);
    duo_.ExpectNear(y, [&](std::size_t) { return tolerance; });
    const std::vector<float> result = duo_.Result(y);
    auto row = result.begin();
    for (const Part& part : parts) {
      const auto next = row + part.rows * Width(heads);
      part.sequence->outputs.insert(part.sequence->outputs.end(), row, next);
      part.sequence->length += part.rows;
      row = next;
    }
  }

  // Fills pages with the keys and values of a sequence that went wrong.
  void Poison(const Heads& heads, Kv& kv, const std::vector<std::int32_t>& pages) {
    const int rows = static_cast<int>(pages.size()) * kPageTokens;
    RowArrays arrays;
    arrays.AddSequence(0, rows, pages);
    const auto x =
        duo_.MakeTensor(std::vector<float>(static_cast<std::size_t>(rows * 3 * Width(heads)),
                                           std::numeric_limits<float>::quiet_NaN()),
                        3 * Width(heads));
    auto y = duo_.MakeTensor(rows, Width(heads), Holds::kFactors);
    duo_.Attend(x, arrays.rows(), heads, kv, y);
  }

  Duo<Subject> duo_;
  std::mt19937 random_{1};
  std::vector<std::int32_t> free_pages_;
};
TYPED_TEST_SUITE(AttendConformance, Subjects, SubjectName);

// One head of 8; row t has q, k and v all zero but for one element of each.
struct Spike {
  int q_at;
  float q;
  int k_at;
  float k;
  float v;  // in element 0
};

std::vector<float> SpikyRows(const std::vector<Spike>& spikes) {
  std::vector<float> qkv(spikes.size() * 24);
  for (std::size_t t = 0; t < spikes.size(); ++t) {
    qkv[t * 24 + static_cast<std::size_t>(spikes[t].q_at)] = spikes[t].q;
    qkv[t * 24 + 8 + static_cast<std::size_t>(spikes[t].k_at)] = spikes[t].k;
    qkv[t * 24 + 16] = spikes[t].v;
  }
  return qkv;
}

// Element 0 of each output row of a sequence computed in one step.
template <class Subject>
std::vector<float> FirstElements(Duo<Subject>& duo, const Heads& heads,
                                 const std::vector<Spike>& spikes) {
  auto kv = duo.MakeKvLayer(1, heads);
  RowArrays arrays;
  arrays.AddSequence(0, static_cast<int>(spikes.size()), std::vector<std::int32_t>{0});
  const auto x = duo.MakeTensor(SpikyRows(spikes), 24);
  auto y = duo.MakeTensor(arrays.rows().size(), 8, Holds::kFactors);
  duo.Attend(x, arrays.rows(), heads, kv, y);
  const std::vector<float> result = duo.Result(y);
  std::vector<float> elements;
  for (std::size_t t = 0; t < spikes.size(); ++t) elements.push_back(result[t * 8]);
  return elements;
}

TYPED_TEST(AttendConformance, EqualScoresAverageTheValuesUpToTheRow) {
  const Heads heads{.count = 1, .dim = 8};

  const auto y =
      FirstElements(this->duo_, heads, {{0, 0, 0, 1, 6}, {0, 0, 0, 2, 0}, {0, 0, 0, 3, 9}});

  EXPECT_FLOAT_EQ(y[0], 6);
  EXPECT_FLOAT_EQ(y[1], 3);
  EXPECT_FLOAT_EQ(y[2], 5);
}

TYPED_TEST(AttendConformance, ScoresAreDividedByTheRootOfTheDim) {
  const Heads heads{.count = 1, .dim = 8};
  const float scale = std::sqrt(8.0F) * std::log(3.0F);  // weights 1 and 3

  const auto y = FirstElements(this->duo_, heads, {{0, 0, 0, 0, 4}, {0, 1, 0, scale, 8}});

  EXPECT_NEAR(y[1], 7, Near<TypeParam>(1e-5));
}

// The outputs of row 1, whose query and the key of row 0 are unit vectors: the score of row 0 is
// s / sqrt(8), of row 1 zero (no key), and the values are 1 and 0.
double WeightOfScore(double s) { return 1 / (1 + std::exp(-s / std::sqrt(8.0))); }

TYPED_TEST(AttendConformance, InterleavedPairsTurnTogether) {
  const Heads heads{.count = 1, .dim = 8, .rotary_dim = 4};
  const auto weight = [&](int q_at, int k_at) {
    return FirstElements(this->duo_, heads, {{0, 0, k_at, 1, 1}, {q_at, 1, 0, 0, 0}})[1];
  };

  EXPECT_NEAR(weight(0, 0), WeightOfScore(std::cos(1.0)), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(1, 1), WeightOfScore(std::cos(1.0)), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(0, 1), WeightOfScore(std::sin(1.0)), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(1, 0), WeightOfScore(-std::sin(1.0)), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(2, 3), WeightOfScore(std::sin(0.01)), Near<TypeParam>(1e-6));  // 10000^(-2/4)
  EXPECT_NEAR(weight(0, 2), WeightOfScore(0), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(4, 4), WeightOfScore(1), Near<TypeParam>(1e-6));  // beyond rotary_dim
  EXPECT_NEAR(weight(4, 5), WeightOfScore(0), Near<TypeParam>(1e-6));
}

TYPED_TEST(AttendConformance, HalvesTurnTogether) {
  const Heads heads{.count = 1, .dim = 8, .rotary_dim = 4, .rotary_pairs = RotaryPairs::kHalves};
  const auto weight = [&](int q_at, int k_at) {
    return FirstElements(this->duo_, heads, {{0, 0, k_at, 1, 1}, {q_at, 1, 0, 0, 0}})[1];
  };

  EXPECT_NEAR(weight(0, 0), WeightOfScore(std::cos(1.0)), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(0, 2), WeightOfScore(std::sin(1.0)), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(2, 0), WeightOfScore(-std::sin(1.0)), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(1, 3), WeightOfScore(std::sin(0.01)), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(0, 1), WeightOfScore(0), Near<TypeParam>(1e-6));
  EXPECT_NEAR(weight(4, 4), WeightOfScore(1), Near<TypeParam>(1e-6));
}

TYPED_TEST(AttendConformance, TheRotaryBaseSetsTheAngles) {
  const Heads heads{.count = 1, .dim = 8, .rotary_dim = 4, .rotary_base = 100};

  const auto y = FirstElements(this->duo_, heads, {{0, 0, 3, 1, 1}, {2, 1, 0, 0, 0}});

  EXPECT_NEAR(y[1], WeightOfScore(std::sin(0.1)), Near<TypeParam>(1e-6));
}

// A prompt of each length in one step, then decoding, then a chunk beside a decode.
TYPED_TEST(AttendConformance, EveryHeadDimAndRotary) {
  for (const int dim : {8, 16, 24, 32, 64, 80, 96, 128, 256}) {
    for (const RotaryPairs pairs : {RotaryPairs::kInterleaved, RotaryPairs::kHalves}) {
      for (const int rotary_dim : {0, 2, dim / 4 * 2, dim - 2, dim}) {
        SCOPED_TRACE(::testing::Message() << "dim " << dim << " rotary " << rotary_dim << " pairs "
                                          << static_cast<int>(pairs));
        const Heads heads{.count = 2, .dim = dim, .rotary_dim = rotary_dim, .rotary_pairs = pairs};
        this->MakePages(20);
        auto kv = this->duo_.MakeKvLayer(20, heads);
        Sequence one = this->MakeSequence(heads, 20);
        Sequence two = this->MakeSequence(heads, 40);
        Sequence three = this->MakeSequence(heads, 60);

        ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&one, 1}, {&two, 17}, {&three, 37}}));
        ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&three, 1}, {&one, 1}, {&two, 1}}));
        ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&two, 13}, {&one, 1}}));
      }
    }
  }
}

TYPED_TEST(AttendConformance, AnyNumberOfHeads) {
  for (const int count : {1, 2, 3, 4, 5, 7, 16, 24}) {
    const Heads heads{.count = count, .dim = 16, .rotary_dim = 8};
    this->MakePages(20);
    auto kv = this->duo_.MakeKvLayer(20, heads);
    Sequence one = this->MakeSequence(heads, 40);
    Sequence two = this->MakeSequence(heads, 40);

    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&one, 19}, {&two, 1}}));
    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&one, 1}, {&two, 1}}));
  }
}

// Chunks that begin and end anywhere in a page.
TYPED_TEST(AttendConformance, EveryChunkAfterEveryPrefix) {
  const Heads heads{.count = 1, .dim = 8, .rotary_dim = 8};
  for (int prefix = 0; prefix <= 34; ++prefix) {
    for (const int rows : {1, 2, 3, 11, 12, 13, 15, 16, 17, 31, 33}) {
      SCOPED_TRACE(::testing::Message() << "prefix " << prefix << " rows " << rows);
      this->MakePages(8);
      auto kv = this->duo_.MakeKvLayer(8, heads);
      Sequence sequence = this->MakeSequence(heads, 80);

      if (prefix > 0) {
        ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, prefix}}));
      }
      ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, rows}}));
    }
  }
}

TYPED_TEST(AttendConformance, RandomRaggedSteps) {
  for (int round = 0; round < 15; ++round) {
    const int dim = 8 * static_cast<int>(1 + this->random_() % 12);
    const Heads heads{.count = static_cast<int>(1 + this->random_() % 4),
                      .dim = dim,
                      .rotary_dim = 2 * (static_cast<int>(this->random_() % 1000) % (dim / 2 + 1)),
                      .rotary_pairs = this->random_() % 2 == 0 ? RotaryPairs::kInterleaved
                                                               : RotaryPairs::kHalves};
    this->MakePages(100);
    auto kv = this->duo_.MakeKvLayer(100, heads);
    std::vector<Sequence> sequences;
    for (int s = 0; s < 6; ++s) sequences.push_back(this->MakeSequence(heads, 200));

    for (int step = 0; step < 8; ++step) {
      std::shuffle(sequences.begin(), sequences.end(), this->random_);
      std::vector<Part> parts;
      for (Sequence& sequence : sequences) {
        const int rows = this->random_() % 2 == 0 ? 1 : static_cast<int>(this->random_() % 24);
        if (rows > 0) parts.push_back({&sequence, rows});
      }
      if (parts.empty()) continue;
      ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, parts)) << "round " << round;
    }
  }
}

TYPED_TEST(AttendConformance, ALongSequence) {
  const Heads heads{.count = 2, .dim = 64, .rotary_dim = 32};
  this->MakePages(70);
  auto kv = this->duo_.MakeKvLayer(70, heads);
  Sequence sequence = this->MakeSequence(heads, 1100);

  for (const int rows : {500, 1, 1, 250, 256, 1}) {
    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, rows}}));
  }
}

// Scores up to 30^2 sqrt(64) apart: most weights underflow, none may overflow.
TYPED_TEST(AttendConformance, ScoresOfAnySize) {
  const Heads heads{.count = 2, .dim = 64, .rotary_dim = 64, .rotary_pairs = RotaryPairs::kHalves};
  for (const float magnitude : {1e-20F, 1e-3F, 4.0F, 30.0F}) {
    this->MakePages(10);
    auto kv = this->duo_.MakeKvLayer(10, heads);
    Sequence sequence = this->MakeSequence(heads, 100, magnitude);

    for (const int rows : {50, 1, 20}) {
      ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, rows}}, magnitude));
    }
  }
}

// A sequence in one step, in chunks and token by token, at the same places and at others.
TYPED_TEST(AttendConformance, PrefillThenDecodeEqualsOnePrefill) {
  for (const int dim : {8, 80, 128}) {
    const Heads heads{.count = 3, .dim = dim, .rotary_dim = 8};
    this->MakePages(20);
    auto kv = this->duo_.MakeKvLayer(20, heads);
    Sequence whole = this->MakeSequence(heads, 75);
    Sequence chunked = this->MakeSequence(heads, 75);
    Sequence stepped = this->MakeSequence(heads, 75);
    chunked.qkv = whole.qkv;
    stepped.qkv = whole.qkv;

    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&whole, 75}}));
    for (const int rows : {5, 11, 1, 20, 30, 8}) {
      ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&chunked, rows}}));
    }
    for (int i = 0; i < 75; ++i) {
      ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&stepped, 1}}));
    }

    ASSERT_NO_FATAL_FAILURE(ExpectSameRow<TypeParam>(whole.outputs, chunked.outputs));
    ASSERT_NO_FATAL_FAILURE(ExpectSameRow<TypeParam>(whole.outputs, stepped.outputs));
  }
}

TYPED_TEST(AttendConformance, ASequenceDoesNotDependOnItsNeighbours) {
  const Heads heads{.count = 2, .dim = 32, .rotary_dim = 16};
  this->MakePages(40);
  auto kv = this->duo_.MakeKvLayer(40, heads);
  Sequence alone = this->MakeSequence(heads, 60);
  Sequence among = this->MakeSequence(heads, 60);
  Sequence before = this->MakeSequence(heads, 100, 3);
  Sequence after = this->MakeSequence(heads, 100, 3);
  among.qkv = alone.qkv;

  for (const int rows : {30, 1, 1, 7}) {
    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&alone, rows}}));
    ASSERT_NO_FATAL_FAILURE(
        this->Step(heads, kv, {{&before, 3 + rows}, {&among, rows}, {&after, 1}}, 3));
  }

  ExpectSameRow<TypeParam>(alone.outputs, among.outputs);
}

// What a page held before, even NaN, is not seen: pages go from request to request.
TYPED_TEST(AttendConformance, StalePagesAreNotSeen) {
  for (const int dim : {8, 24, 64}) {
    const Heads heads{.count = 2, .dim = dim, .rotary_dim = 8};
    this->MakePages(8);
    auto kv = this->duo_.MakeKvLayer(8, heads);
    this->Poison(heads, kv, this->free_pages_);
    Sequence sequence = this->MakeSequence(heads, 60);
    Sequence other = this->MakeSequence(heads, 60);

    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, 3}, {&other, 18}}));
    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, 1}, {&other, 1}}));
    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, 14}, {&other, 1}}));
  }
}

// A NaN in one sequence stays there.
TYPED_TEST(AttendConformance, ABadNeighbourHarmsNobody) {
  const Heads heads{.count = 2, .dim = 16, .rotary_dim = 8};
  this->MakePages(8);
  auto kv = this->duo_.MakeKvLayer(8, heads);
  Sequence good = this->MakeSequence(heads, 40);
  RowArrays arrays;
  arrays.AddSequence(0, 5, std::vector<std::int32_t>{this->free_pages_.back()});
  arrays.AddSequence(0, 20, good.pages);
  std::vector<float> qkv(25 * 96, std::numeric_limits<float>::quiet_NaN());
  std::copy_n(good.qkv.begin(), 20 * 96, qkv.begin() + 5 * 96);
  const auto x = this->duo_.MakeTensor(qkv, 96, Holds::kFactors);
  auto y = this->duo_.MakeTensor(25, 32, Holds::kFactors);

  this->duo_.Attend(x, arrays.rows(), heads, kv, y);

  const std::vector<float> result = this->duo_.Result(y);
  ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&good, 20}}));
  ExpectSameRow<TypeParam>(std::span(result).subspan(5 * 32), good.outputs);
}

// Two sequences with a common beginning read the same pages and write their own.
TYPED_TEST(AttendConformance, SequencesMayShareThePagesTheyOnlyRead) {
  const Heads heads{.count = 2, .dim = 16, .rotary_dim = 16};
  this->MakePages(12);
  auto kv = this->duo_.MakeKvLayer(12, heads);
  Sequence first = this->MakeSequence(heads, 64);
  Sequence second = this->MakeSequence(heads, 64);
  std::copy_n(first.qkv.begin(), 32 * 96, second.qkv.begin());
  std::copy_n(first.pages.begin(), 2, second.pages.begin());

  ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&first, 32}}));
  second.length = 32;
  for (const int rows : {1, 9, 1}) {
    ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&first, rows}, {&second, rows}}));
  }
}

// More pages than the positions need, as a reservation has.
TYPED_TEST(AttendConformance, PagesBeyondTheLastPositionDoNotMatter) {
  const Heads heads{.count = 1, .dim = 8, .rotary_dim = 4};
  this->MakePages(12);
  auto kv = this->duo_.MakeKvLayer(12, heads);
  this->Poison(heads, kv, this->free_pages_);
  Sequence sequence = this->MakeSequence(heads, 150);

  ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, 16}}));
  ASSERT_NO_FATAL_FAILURE(this->Step(heads, kv, {{&sequence, 1}}));
}

}  // namespace
}  // namespace codegen::testing
