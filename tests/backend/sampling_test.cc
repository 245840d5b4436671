// SPDX-License-Identifier: Apache-2.0
#include "backend/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "base/philox.h"

namespace codegen::backend {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::int32_t Width(const std::vector<float>& logits) {
  return static_cast<std::int32_t>(logits.size());
}

// The ids that the first `draws` positions yield.
std::vector<int> Histogram(const std::vector<float>& logits, Sampling sampling, int draws) {
  std::vector<int> counts(logits.size());
  for (sampling.position = 0; sampling.position < draws; ++sampling.position)
    ++counts[static_cast<std::size_t>(SampleRow(logits, sampling).id)];
  return counts;
}

std::set<TokenId> Support(const std::vector<float>& logits, const Sampling& sampling) {
  const std::vector<int> counts = Histogram(logits, sampling, 1000);
  std::set<TokenId> ids;
  for (std::size_t id = 0; id < counts.size(); ++id)
    if (counts[id] > 0) ids.insert(static_cast<TokenId>(id));
  return ids;
}

// Sum of (observed - expected)^2 / expected.
double ChiSquare(const std::vector<int>& counts, const std::vector<double>& probabilities) {
  const double draws = std::accumulate(counts.begin(), counts.end(), 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = draws * probabilities[i];
    if (expected > 0) sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    if (expected == 0 && counts[i] > 0) return std::numeric_limits<double>::infinity();
  }
  return sum;
}

// sampling.h word by word: sort all, in double. Probabilities of all ids after temperature, top_k,
// top_p and min_p, in candidate order.
struct Ranked {
  TokenId id;
  double probability;
};

std::vector<Ranked> NaiveDistribution(std::span<const float> logits, const Sampling& sampling,
                                      double top_p, double min_p) {
  std::vector<Ranked> ranked;
  const auto vocabulary = static_cast<std::size_t>(sampling.vocabulary);
  for (std::size_t i = 0; i < vocabulary; ++i) ranked.push_back({static_cast<TokenId>(i), 0});
  const auto logit = [&](const Ranked& r) { return logits[static_cast<std::size_t>(r.id)]; };
  std::stable_sort(ranked.begin(), ranked.end(),
                   [&](const Ranked& a, const Ranked& b) { return logit(a) > logit(b); });
  if (sampling.top_k > 0)
    ranked.resize(std::min(ranked.size(), static_cast<std::size_t>(sampling.top_k)));
  const double largest = logit(ranked[0]);
  const auto normalise = [&ranked] {
    double total = 0;
    for (const Ranked& r : ranked) total += r.probability;
    for (Ranked& r : ranked) r.probability /= total;
  };
  for (Ranked& r : ranked) r.probability = std::exp((logit(r) - largest) / sampling.temperature);
  normalise();
  double sum = 0;
  std::size_t kept = 0;
  while (kept < ranked.size() && (kept == 0 || sum < top_p)) sum += ranked[kept++].probability;
  ranked.resize(kept);
  std::erase_if(ranked, [least = min_p * ranked[0].probability](const Ranked& r) {
    return r.probability < least;
  });
  normalise();
  return ranked;
}

std::vector<double> NaiveProbabilities(const std::vector<float>& logits, const Sampling& sampling) {
  std::vector<double> probabilities(logits.size());
  for (const Ranked& r : NaiveDistribution(logits, sampling, sampling.top_p, sampling.min_p))
    probabilities[static_cast<std::size_t>(r.id)] = r.probability;
  return probabilities;
}

// The id at `uniform`; nothing where a boundary is nearer than what float32 weights decide: each is
// off by some 60 ulp at most (exponents down to -60, half an ulp each), 60 * 2^-24 < 4e-6.
std::optional<TokenId> NaiveDraw(std::span<const float> logits, const Sampling& sampling) {
  constexpr double kDoubt = 4e-6;
  const auto ranked = NaiveDistribution(logits, sampling, sampling.top_p, sampling.min_p);
  for (const double doubt : {-kDoubt, kDoubt}) {
    const double top_p = sampling.top_p < 1 ? sampling.top_p + doubt : 1;
    for (const double min_p : {sampling.min_p * (1 + doubt), sampling.min_p * (1 - doubt)}) {
      if (ranked.size() != NaiveDistribution(logits, sampling, top_p, min_p).size())
        return std::nullopt;
    }
  }
  const double uniform = UniformAt(sampling.seed, sampling.position);
  double sum = 0;
  for (const Ranked& r : ranked) {
    sum += r.probability;
    if (std::abs(sum - uniform) < kDoubt) return std::nullopt;
    if (sum > uniform) return r.id;
  }
  return std::nullopt;
}

std::vector<float> RandomRow(std::mt19937& random, std::size_t width, float deviation) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> row(width);
  for (float& logit : row) logit = normal(random);
  return row;
}

TEST(Greedy, TakesTheLargestLogit) {
  const std::vector<float> logits = {-3, 1, 4, 2};

  EXPECT_EQ(SampleRow(logits, {.vocabulary = 4}).id, 2);
}

TEST(Greedy, TakesTheLowestIdAmongEquals) {
  const std::vector<float> logits = {0, 5, 5, 5};

  EXPECT_EQ(SampleRow(logits, {.vocabulary = 4}).id, 1);
}

TEST(Greedy, TakesEqualZerosOfBothSignsAsEqual) {
  const std::vector<float> logits = {-0.0F, 0.0F};

  EXPECT_EQ(SampleRow(logits, {.vocabulary = 2}).id, 0);
}

TEST(Greedy, ReportsTheLogProbabilityWithoutTemperature) {
  const std::vector<float> logits = {std::log(1.0F), std::log(2.0F), std::log(5.0F)};

  const auto logprob = [&](float temperature, bool wanted) {
    return SampleRow(logits, {.temperature = temperature, .vocabulary = 3, .logprob = wanted})
        .logprob;
  };

  EXPECT_NEAR(logprob(0, true), std::log(5.0 / 8), 1e-6);
  EXPECT_NEAR(logprob(1e-3F, true), std::log(5.0 / 8), 1e-6);
  EXPECT_EQ(logprob(0, false), 0);
}

TEST(Greedy, HoldsBelowItsTemperatureAndNotAbove) {
  const std::vector<float> logits = {1.0F, 1.0F};

  EXPECT_EQ(Support(logits, {.temperature = 0.999e-3F, .vocabulary = 2}), (std::set<TokenId>{0}));
  EXPECT_EQ(Support(logits, {.temperature = 1e-3F, .vocabulary = 2}), (std::set<TokenId>{0, 1}));
}

TEST(Vocabulary, HidesTheRowsBeyondIt) {
  const std::vector<float> logits = {1, 2, 100, kNan, kInfinity};

  const SampledToken greedy = SampleRow(logits, {.vocabulary = 2, .logprob = true});

  EXPECT_EQ(greedy.id, 1);
  EXPECT_NEAR(greedy.logprob, -std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_EQ(Support(logits, {.temperature = 50, .vocabulary = 2}), (std::set<TokenId>{0, 1}));
}

TEST(Vocabulary, OfOneTokenLeavesNoChoice) {
  EXPECT_EQ(SampleRow(std::vector<float>{-7}, {.temperature = 1, .vocabulary = 1}).id, 0);
  EXPECT_EQ(SampleRow(std::vector<float>{-7}, {.temperature = 1, .vocabulary = 1, .logprob = true})
                .logprob,
            0);
}

TEST(Changes, DividePositiveLogitsAndMultiplyNegativeOnesThenAddTheBias) {
  const std::vector<float> logits = {3, 2.5F, -1, 2};
  const auto greedy = [&](std::vector<LogitChange> changes) {
    return SampleRow(logits, {.vocabulary = 4, .changes = changes}).id;
  };

  EXPECT_EQ(greedy({{.id = 0, .divisor = 1.19F}}), 0);  // 2.52
  EXPECT_EQ(greedy({{.id = 0, .divisor = 1.21F}}), 1);  // 2.48
  EXPECT_EQ(greedy({{.id = 2, .divisor = 0.5F, .bias = 3.49F}}), 0);
  EXPECT_EQ(greedy({{.id = 2, .divisor = 0.5F, .bias = 3.51F}}), 2);
  EXPECT_EQ(greedy({{.id = 3, .divisor = 0.5F, .bias = -0.9F}}), 3);
  EXPECT_EQ(greedy({{.id = 3, .divisor = 0.5F, .bias = -1.1F}}), 0);
}

TEST(Changes, ComeBeforeTemperatureAndAllElse) {
  std::vector<float> logits(300);
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(i * 7919 % 300) / 60 - 2;
  std::vector<float> changed = logits;
  std::vector<LogitChange> changes;
  for (TokenId id = 299; id >= 0; id -= 4) {
    changes.push_back({.id = id, .divisor = 1.5F, .bias = 0.75F});
    float& logit = changed[static_cast<std::size_t>(id)];
    logit = (logit > 0 ? logit / 1.5F : logit * 1.5F) + 0.75F;
  }
  for (int i = 0; i < 200; ++i) {
    Sampling sampling{.temperature = 0.7F,
                      .top_k = i % 2 == 0 ? 50 : 0,
                      .top_p = i % 3 == 0 ? 0.8F : 1.0F,
                      .min_p = i % 5 == 0 ? 0.1F : 0.0F,
                      .position = i,
                      .vocabulary = 300,
                      .logprob = true};
    const TokenId want = SampleRow(changed, sampling).id;
    sampling.changes = changes;
    const SampledToken found = SampleRow(logits, sampling);
    EXPECT_EQ(found.id, want);
    EXPECT_EQ(found.logprob, LogProbability(logits, want));
  }
}

TEST(BadLogits, NanGivesNoToken) {
  for (const float temperature : {0.0F, 1.0F}) {
    for (std::size_t at = 0; at < 3; ++at) {
      std::vector<float> logits = {1, 2, 3};
      logits[at] = kNan;

      EXPECT_EQ(SampleRow(logits, {.temperature = temperature, .vocabulary = 3}).id, -1);
    }
  }
}

TEST(BadLogits, PositiveInfinityGivesNoToken) {
  const std::vector<float> logits = {1, kInfinity, 3};

  EXPECT_EQ(SampleRow(logits, {.vocabulary = 3}).id, -1);
  EXPECT_EQ(SampleRow(logits, {.temperature = 1, .vocabulary = 3}).id, -1);
}

TEST(BadLogits, OnlyNegativeInfinityGivesNoToken) {
  const std::vector<float> logits = {-kInfinity, -kInfinity};

  EXPECT_EQ(SampleRow(logits, {.vocabulary = 2}).id, -1);
  EXPECT_EQ(SampleRow(logits, {.temperature = 1, .vocabulary = 2}).id, -1);
}

TEST(BadLogits, NegativeInfinityIsNeverDrawn) {
  const std::vector<float> logits = {-kInfinity, 0, -kInfinity, 0};

  EXPECT_EQ(Support(logits, {.temperature = 100, .top_k = 3, .vocabulary = 4}),
            (std::set<TokenId>{1, 3}));
}

TEST(BadLogits, TheWholeRangeOfFloatIsSampled) {
  constexpr float kMax = std::numeric_limits<float>::max();
  const std::vector<float> logits = {-kMax, kMax, kMax};

  EXPECT_EQ(Support(logits, {.temperature = 100, .vocabulary = 3}), (std::set<TokenId>{1, 2}));
  EXPECT_NEAR(SampleRow(logits, {.vocabulary = 3, .logprob = true}).logprob, -std::log(2.0), 1e-6);
}

TEST(TopK, OfOneIsGreedy) {
  std::mt19937 random(1);
  for (int i = 0; i < 100; ++i) {
    const std::vector<float> logits = RandomRow(random, 100, 1);
    const Sampling greedy{.vocabulary = 100};
    const Sampling one{.temperature = 5, .top_k = 1, .position = i, .vocabulary = 100};

    EXPECT_EQ(SampleRow(logits, one).id, SampleRow(logits, greedy).id);
  }
}

TEST(TopK, KeepsTheLargest) {
  const std::vector<float> logits = {0.1F, 0.4F, 0.2F, 0.3F};

  EXPECT_EQ(Support(logits, {.temperature = 10, .top_k = 2, .vocabulary = 4}),
            (std::set<TokenId>{1, 3}));
}

TEST(TopK, KeepsLowerIdsAmongEquals) {
  const std::vector<float> logits = {0, 1, 1, 1};

  EXPECT_EQ(Support(logits, {.temperature = 1, .top_k = 2, .vocabulary = 4}),
            (std::set<TokenId>{1, 2}));
}

TEST(TopK, OfTheVocabularyOrMoreKeepsAll) {
  std::mt19937 random(2);
  const std::vector<float> logits = RandomRow(random, 50, 1);
  for (std::int32_t position = 0; position < 500; ++position) {
    const Sampling all{.temperature = 1, .position = position, .vocabulary = 50};
    for (const int top_k : {50, 51, std::numeric_limits<int>::max()}) {
      Sampling sampling = all;
      sampling.top_k = top_k;

      EXPECT_EQ(SampleRow(logits, sampling).id, SampleRow(logits, all).id);
    }
  }
}

// One likely token, 100 at exp(-9) and 300 at exp(-11): the last cut falls among tokens so unlikely
// that only random numbers near one reach them.
TEST(TopK, CutsAmongUnlikelyTokens) {
  std::vector<float> logits(401);
  for (std::size_t rank = 0; rank < 401; ++rank)
    logits[rank * 7 % 401] = (rank == 0     ? 0.0F
                              : rank <= 100 ? -9.0F
                                            : -11.0F) -
                             1e-5F * static_cast<float>(rank);
  const float last = -11 - 1e-5F * 200;
  int unlikely = 0;

  for (std::int32_t position = 0; position < 250'000; ++position) {
    if (UniformAt(0, position) < 0.999F) continue;
    const Sampling sampling{
        .temperature = 1, .top_k = 201, .position = position, .vocabulary = 401};
    const float drawn = logits[static_cast<std::size_t>(SampleRow(logits, sampling).id)];

    ASSERT_GE(drawn, last);
    unlikely += drawn < -10 ? 1 : 0;
  }

  EXPECT_GT(unlikely, 100);
}

// Four equal logits weigh exactly a quarter each.
TEST(TopP, KeepsTheSmallestSetThatReachesIt) {
  const std::vector<float> logits = {2, 2, 2, 2};
  const auto kept = [&](float top_p) {
    return Support(logits, {.temperature = 1, .top_p = top_p, .vocabulary = 4}).size();
  };

  EXPECT_EQ(kept(0.25F), 1U);
  EXPECT_EQ(kept(std::nextafter(0.25F, 1.0F)), 2U);
  EXPECT_EQ(kept(0.5F), 2U);
  EXPECT_EQ(kept(0.75F), 3U);
  EXPECT_EQ(kept(std::nextafter(0.75F, 1.0F)), 4U);
  EXPECT_EQ(kept(std::nextafter(1.0F, 0.0F)), 4U);
  EXPECT_EQ(kept(1.0F), 4U);
}

TEST(TopP, AlwaysKeepsTheLargest) {
  const std::vector<float> logits = {0, 0, 1, 0};

  EXPECT_EQ(Support(logits, {.temperature = 100, .top_p = 1e-30F, .vocabulary = 4}),
            (std::set<TokenId>{2}));
}

TEST(TopP, CountsProbabilitiesAfterTheTemperature) {
  // exp(ln 2) : 1 : 1, thus 1/2 1/4 1/4; at temperature 1/2 4 : 1 : 1, thus 2/3 1/6 1/6.
  const std::vector<float> logits = {std::log(2.0F), 0, 0};

  EXPECT_EQ(Support(logits, {.temperature = 1, .top_p = 0.6F, .vocabulary = 3}).size(), 2U);
  EXPECT_EQ(Support(logits, {.temperature = 0.5F, .top_p = 0.6F, .vocabulary = 3}).size(), 1U);
}

TEST(TopP, CountsProbabilitiesAfterTopK) {
  const std::vector<float> logits = {0, 0, 0, 0};

  // Half of the two kept, not of the four.
  EXPECT_EQ(Support(logits, {.temperature = 1, .top_k = 2, .top_p = 0.5F, .vocabulary = 4}).size(),
            1U);
}

TEST(MinP, KeepsWhatIsThatProbableBesideTheLargest) {
  const std::vector<float> logits = {1, 0, -1, 3};  // beside the largest: exp(-2), exp(-3), exp(-4)
  const auto kept = [&](float min_p, float temperature) {
    return Support(logits, {.temperature = temperature, .min_p = min_p, .vocabulary = 4}).size();
  };

  EXPECT_EQ(kept(0, 1), 4U);
  EXPECT_EQ(kept(0.018F, 1), 4U);
  EXPECT_EQ(kept(0.019F, 1), 3U);
  EXPECT_EQ(kept(0.1F, 1), 2U);
  EXPECT_EQ(kept(0.14F, 1), 1U);
  EXPECT_EQ(kept(0.14F, 2), 3U) << "probabilities are those after the temperature";
}

TEST(MinP, OfOneKeepsWhatEqualsTheLargest) {
  const std::vector<float> logits = {2, 5, 5, 4.9F, 5};

  EXPECT_EQ(Support(logits, {.temperature = 1, .min_p = 1, .vocabulary = 5}),
            (std::set<TokenId>{1, 2, 4}));
}

TEST(MinP, AddsNothingToWhatTopKAndTopPKeep) {
  const std::vector<float> logits = {1, 1, 1, 1};

  EXPECT_EQ(Support(logits, {.temperature = 1, .top_k = 3, .min_p = 0.5F, .vocabulary = 4}).size(),
            3U);
  EXPECT_EQ(
      Support(logits, {.temperature = 1, .top_p = 0.5F, .min_p = 0.5F, .vocabulary = 4}).size(),
      2U);
}

TEST(Uniform, IsTheUpperBitsOfPhilox) {
  const auto bits = base::Philox4x32({7, 0, 0, 0}, {0x89ABCDEFU, 0x01234567U});

  EXPECT_EQ(UniformAt(0x0123456789ABCDEFU, 7), static_cast<float>(bits[0] >> 8) / 16777216.0F);
}

TEST(Uniform, LiesBelowOne) {
  float largest = 0;
  for (std::int32_t position = 0; position < 1'000'000; ++position)
    largest = std::max(largest, UniformAt(1, position));

  EXPECT_LT(largest, 1.0F);
  EXPECT_GT(largest, 0.9999F);
}

// Pairs of numbers that a careless generator would tie together: neighbours in position, in seed,
// and in the two halves of the seed. 64 cells, 63 degrees of freedom: above 119 once in 30,000.
TEST(Uniform, NeighboursAreIndependent) {
  constexpr std::int32_t kDraws = 100'000;
  const auto cell = [](float a, float b) {
    return static_cast<std::size_t>(a * 8) * 8 + static_cast<std::size_t>(b * 8);
  };
  std::array<std::vector<int>, 3> counts;
  counts.fill(std::vector<int>(64));

  for (std::int32_t i = 0; i < kDraws; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    ++counts[0][cell(UniformAt(5, i), UniformAt(5, i + 1))];
    ++counts[1][cell(UniformAt(seed, 3), UniformAt(seed + 1, 3))];
    ++counts[2][cell(UniformAt(seed, 3), UniformAt(seed << 32, 3))];
  }

  for (const std::vector<int>& count : counts)
    EXPECT_LT(ChiSquare(count, std::vector<double>(64, 1.0 / 64)), 119);
}

TEST(Draw, DependsOnSeedAndPositionAlone) {
  std::mt19937 random(3);
  const std::vector<float> logits = RandomRow(random, 1000, 1);
  std::set<TokenId> by_seed;
  std::set<TokenId> by_position;

  for (int i = 0; i < 50; ++i) {
    const Sampling sampling{.temperature = 1, .seed = 9, .position = i, .vocabulary = 1000};
    EXPECT_EQ(SampleRow(logits, sampling).id, SampleRow(logits, sampling).id);
    by_position.insert(SampleRow(logits, sampling).id);
    by_seed.insert(SampleRow(logits, {.temperature = 1,
                                      .seed = static_cast<std::uint64_t>(i),
                                      .position = 9,
                                      .vocabulary = 1000})
                       .id);
  }

  EXPECT_GT(by_seed.size(), 30U);
  EXPECT_GT(by_position.size(), 30U);
}

// 12 ids, at most 11 degrees of freedom: above 45 less than once in 100,000.
TEST(Draw, FollowsTheSoftmax) {
  std::mt19937 random(4);
  const std::vector<float> logits = RandomRow(random, 12, 2);
  for (const Sampling& sampling : {
           Sampling{.temperature = 1},
           Sampling{.temperature = 0.5F},
           Sampling{.temperature = 3},
           Sampling{.temperature = 100},
           Sampling{.temperature = 1, .top_k = 5},
           Sampling{.temperature = 1, .top_p = 0.8F},
           Sampling{.temperature = 2, .top_k = 7, .top_p = 0.9F},
           Sampling{.temperature = 1, .min_p = 0.05F},
           Sampling{.temperature = 2, .top_k = 9, .top_p = 0.95F, .min_p = 0.1F},
       }) {
    for (const std::uint64_t seed : {0U, 1U, 123456789U}) {
      Sampling seeded = sampling;
      seeded.seed = seed;
      seeded.vocabulary = 12;

      EXPECT_LT(ChiSquare(Histogram(logits, seeded, 50'000), NaiveProbabilities(logits, seeded)),
                45)
          << "temperature " << sampling.temperature << " top_k " << sampling.top_k << " top_p "
          << sampling.top_p << " min_p " << sampling.min_p << " seed " << seed;
    }
  }
}

TEST(Draw, AgreesWithSortingEverything) {
  std::mt19937 random(5);
  int compared = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::size_t width = 1 + random() % (round % 10 == 0 ? 5000 : 300);
    std::vector<float> logits =
        RandomRow(random, width, std::array{0.01F, 1.0F, 8.0F}[random() % 3]);
    if (random() % 3 == 0)  // many ties
      for (float& logit : logits) logit = std::round(logit);
    if (random() % 4 == 0) logits[random() % width] = -kInfinity;
    const Sampling sampling{
        .temperature = std::array{0.2F, 0.7F, 1.0F, 2.5F}[random() % 4],
        .top_k = std::array{0, 1, 5, 63, 64, 65, 1000}[random() % 7],
        .top_p = std::array{1.0F, 0.01F, 0.5F, 0.9F, 0.95F, 0.999F}[random() % 6],
        .min_p = std::array{0.0F, 0.0F, 1e-5F, 0.02F, 0.3F}[random() % 5],
        .seed = random(),
        .position = static_cast<std::int32_t>(random() % 2048),
        .vocabulary = static_cast<std::int32_t>(1 + random() % width)};

    const SampledToken drawn = SampleRow(logits, sampling);
    if (drawn.id < 0) continue;  // the only logit was masked
    const std::optional<TokenId> expected = NaiveDraw(logits, sampling);
    if (!expected.has_value()) continue;

    ASSERT_EQ(drawn.id, *expected) << "round " << round;
    ++compared;
  }

  EXPECT_GT(compared, 2800);
}

TEST(Draw, AgreesWithSortingEverythingOnAWideRow) {
  std::mt19937 random(6);
  int compared = 0;
  for (const float deviation : {0.001F, 2.0F, 10.0F}) {
    const std::vector<float> logits = RandomRow(random, 51'200, deviation);
    for (const auto& [top_p, min_p] :
         {std::pair(1.0F, 0.0F), std::pair(0.95F, 0.0F), std::pair(0.95F, 1e-3F)}) {
      for (std::int32_t position = 0; position < 10; ++position) {
        const Sampling sampling{.temperature = 1,
                                .top_p = top_p,
                                .min_p = min_p,
                                .position = position,
                                .vocabulary = 50'257};
        const std::optional<TokenId> expected = NaiveDraw(logits, sampling);
        if (!expected.has_value()) continue;  // a flat row is all boundaries

        EXPECT_EQ(SampleRow(logits, sampling).id, *expected);
        ++compared;
      }
    }
  }

  EXPECT_GT(compared, 30);
}

TEST(LogProbability, IsTheLogarithmOfSoftmax) {
  std::mt19937 random(7);
  for (const std::size_t width : {1U, 2U, 17U, 51'200U}) {
    const std::vector<float> logits = RandomRow(random, width, 4);
    double total = 0;
    for (const float logit : logits) total += std::exp(double{logit});
    for (std::size_t id = 0; id < width; id += 1 + width / 10) {
      const double expected = double{logits[id]} - std::log(total);

      // The terms are float32 exponentials, the result is rounded once.
      EXPECT_NEAR(LogProbability(logits, static_cast<TokenId>(id)), expected,
                  1e-6 + std::abs(expected) * 6e-8);
    }
  }
}

TEST(LogProbability, OfAMaskedTokenIsNegativeInfinity) {
  EXPECT_EQ(LogProbability(std::vector<float>{0, -kInfinity}, 1), -kInfinity);
}

TEST(LogProbability, OfAGivenTokenIsReportedWhateverWouldBeDrawn) {
  const std::vector<float> logits = {1, 5, 2, 4};
  for (const float temperature : {0.0F, 1.0F}) {
    for (TokenId given = 0; given < 4; ++given) {
      const SampledToken token = SampleRow(logits, {.temperature = temperature,
                                                    .top_k = 1,
                                                    .vocabulary = 4,
                                                    .logprob = true,
                                                    .given = given});

      EXPECT_EQ(token.id, given);
      EXPECT_EQ(token.logprob, LogProbability(logits, given));
    }
  }
}

TEST(LogProbability, OfAGivenTokenIsNotReportedAmongBadLogits) {
  const std::vector<float> logits = {1, kNan};
  EXPECT_EQ(SampleRow(logits, {.vocabulary = 2, .logprob = true, .given = 0}).id, -1);
}

TEST(LogProbability, IsWhatSamplingReports) {
  std::mt19937 random(8);
  const std::vector<float> logits = RandomRow(random, 100, 2);
  const Sampling sampling{
      .temperature = 2, .top_k = 20, .top_p = 0.8F, .vocabulary = Width(logits), .logprob = true};

  const SampledToken drawn = SampleRow(logits, sampling);

  EXPECT_EQ(drawn.logprob, LogProbability(logits, drawn.id));
}

}  // namespace
}  // namespace codegen::backend
