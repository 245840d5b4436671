// SPDX-License-Identifier: Apache-2.0
//
// The oracle is backend::SampleRow, which has tests of its own (tests/backend/sampling_test.cc):
// the same token for the same logits, always.
#include "cuda/kernels/sample.cuh"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "backend/weight.h"
#include "cuda/kernels/row_shapes.h"
#include "support/sanitizers.h"

namespace codegen::cuda {
namespace {

using backend::LogitChange;
using backend::SampledToken;
using backend::Sampling;

// Sanitizers make the emulator up to 40 times slower, and look at each line rather than at each
// number.
constexpr int kFewer = sanitizers::kAny ? 10 : 1;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Rows to sample in one launch, all of `columns` logits.
struct Batch {
  int columns = 0;
  std::vector<float> logits = {};
  std::vector<Sampling> sampling = {};  // without changes, which are below
  std::vector<std::vector<LogitChange>> changes = {};

  void Append(const std::vector<float>& row, const Sampling& how) {
    columns = static_cast<int>(row.size());
    logits.insert(logits.end(), row.begin(), row.end());
    sampling.push_back(how);
    changes.emplace_back();
    if (how.vocabulary == 0) sampling.back().vocabulary = columns;
  }
  Sampling How(std::size_t i) const {
    Sampling how = sampling[i];
    how.changes = changes[i];
    return how;
  }
  std::span<const float> Row(std::size_t i) const {
    const auto width = static_cast<std::size_t>(columns);
    return std::span(logits).subspan(i * width, width);
  }
};

// The first `rows` of the batch, sampled by the kernel; what it left alone has the id -7.
std::vector<SampledToken> SampleOnDevice(const Batch& batch, std::size_t rows) {
  const DeviceArray<float> logits(batch.logits);
  std::vector<LogitChange> all;
  for (const auto& row : batch.changes) all.insert(all.end(), row.begin(), row.end());
  const DeviceArray<LogitChange> changes(all);
  const DeviceArray<float> unchanged{std::vector<float>(all.size())};
  std::vector<Sampling> how = batch.sampling;
  const LogitChange* next = changes.data();
  for (std::size_t i = 0; i < how.size(); next += batch.changes[i++].size())
    how[i].changes = {next, batch.changes[i].size()};
  const DeviceArray<Sampling> sampling(how);
  const DeviceArray<SampledToken> tokens(
      std::vector<SampledToken>(batch.sampling.size(), {.id = -7}));
  const DeviceArray<std::int32_t> count({static_cast<std::int32_t>(rows)});
  EXPECT_EQ(Sample({.logits = logits.data(),
                    .sampling = sampling.data(),
                    .changes = changes.data(),
                    .unchanged = unchanged.data(),
                    .tokens = tokens.data(),
                    .rows = count.data(),
                    .row_capacity = static_cast<int>(batch.sampling.size()),
                    .columns = batch.columns},
                   nullptr),
            cudaSuccess);
  const std::vector<float> after = logits.Host();
  EXPECT_EQ(std::memcmp(after.data(), batch.logits.data(), after.size() * sizeof(float)), 0)
      << "the logits are not as they were";
  return tokens.Host();
}

// Every row's token is that of the CPU. A float of 24 bits is known to 2^-24 of itself, and so are
// the terms of the logarithm of the sum.
void ExpectAsOnCpu(const Batch& batch) {
  const std::vector<SampledToken> tokens = SampleOnDevice(batch, batch.sampling.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Sampling how = batch.How(i);
    const SampledToken want = backend::SampleRow(batch.Row(i), how);
    ASSERT_EQ(tokens[i].id, want.id)
        << "row " << i << " of " << batch.columns << ": temperature " << how.temperature
        << ", top_k " << how.top_k << ", top_p " << how.top_p << ", min_p " << how.min_p
        << ", seed " << how.seed << ", position " << how.position << ", vocabulary "
        << how.vocabulary;
    if (tokens[i].logprob == want.logprob) continue;  // a given one may be minus infinity
    ASSERT_NEAR(tokens[i].logprob, want.logprob, 1e-6 + std::abs(want.logprob) * 0x1p-23);
  }
}

void ExpectAsOnCpuUnderEverySchedule(const Batch& batch) {
  UnderEverySchedule([&] { ExpectAsOnCpu(batch); });
}

// Rows of many kinds: peaked and flat, with and without ties, zeros of both signs, -infinity.
class RandomRows {
 public:
  explicit RandomRows(unsigned seed) : random_(seed) {}

  std::vector<float> Row(int columns) {
    std::normal_distribution<float> normal(0, Pick<float>({0.01F, 1, 3, 10, 100}));
    const int kind = Pick<int>({0, 0, 1, 2, 3});
    std::vector<float> row(static_cast<std::size_t>(columns));
    for (float& logit : row) {
      logit = normal(random_);
      if (kind == 1) logit = std::round(logit);
      if (kind == 2) logit = Widened(__float2bfloat16(logit));
      if (kind == 3 && random_() % 4 == 0) logit = -kInfinity;
    }
    row[random_() % row.size()] = 1;  // at least one that is finite
    return row;
  }

  Sampling How(int columns) {
    return {.temperature = Pick<float>({0, 1e-3F, 0.2F, 0.7F, 1, 1, 2.5F, 100}),
            .top_k = Pick<int>({0, 0, 1, 2, 5, 40, columns - 1, columns, columns + 1}),
            .top_p = Pick<float>({1, 1, 0.999F, 0.95F, 0.5F, 0.1F, 1e-6F}),
            .min_p = Pick<float>({0, 0, 0, 1e-13F, 1e-6F, 0.01F, 0.2F, 1}),
            .seed = std::uint64_t{random_()} << 32 | random_(),
            .position = static_cast<std::int32_t>(random_() % 2048),
            .logprob = random_() % 2 == 0};
  }

  // A number of ids that leaves out the last columns, which no longer hold numbers.
  int CutVocabulary(std::vector<float>& row) {
    const std::size_t vocabulary = 1 + random_() % row.size();
    row[0] = 0.5F;
    std::fill(row.begin() + static_cast<std::ptrdiff_t>(vocabulary), row.end(), kNan);
    return static_cast<int>(vocabulary);
  }

  Batch Rows(int columns, int rows) {
    Batch batch;
    for (int i = 0; i < rows; ++i) {
      std::vector<float> row = Row(columns);
      Sampling how = How(columns);
      if (i % 4 == 0) how.vocabulary = CutVocabulary(row);
      const int ids = how.vocabulary == 0 ? columns : how.vocabulary;
      if (i % 5 == 1) how.given = static_cast<TokenId>(random_() % static_cast<unsigned>(ids));
      batch.Append(row, how);
      if (i % 3 == 0) batch.changes.back() = Changes(batch.sampling.back().vocabulary);
    }
    return batch;
  }

 private:
  // Of some ids, more than a block has threads where the row is long.
  std::vector<LogitChange> Changes(int vocabulary) {
    std::vector<LogitChange> changes;
    for (TokenId id = 0; id < vocabulary; id += 1 + static_cast<TokenId>(random_() % 3))
      changes.push_back({id, Pick<float>({1, 1.3F, 0.5F}), Pick<float>({0, -2, 3.7F, -100})});
    std::ranges::shuffle(changes, random_);
    return changes;
  }

  template <class T>
  T Pick(std::initializer_list<T> values) {
    return values.begin()[random_() % values.size()];
  }

  std::mt19937 random_;
};

TEST(Sample, DrawsTheTokenOfTheCpu) {
  unsigned seed = 0;
  UnderEverySchedule([&] {
    for (const int columns : {1, 2, 31, 33, 100, 1024})
      ExpectAsOnCpu(RandomRows(++seed).Rows(columns, (columns > 100 ? 20 : 120) / kFewer));
  });
}

TEST(Sample, DrawsTheTokenOfTheCpuFromManyLogits) {
  unsigned seed = 100;
  UnderEverySchedule([&] {
    ExpectAsOnCpu(RandomRows(++seed).Rows(4099, 10 / kFewer));
    ExpectAsOnCpu(RandomRows(++seed).Rows(51200, 1));
  });
}

TEST(Sample, FollowsTheCpuOverManyPositions) {
  Batch batch;
  const std::vector<float> row = RandomRows(7).Row(200);
  for (int position = 0; position < 500 / kFewer; ++position)
    batch.Append(row, {.temperature = 1, .seed = 3, .position = position});

  ExpectAsOnCpu(batch);
}

// More candidates lie near the largest than the kernel lists.
TEST(Sample, SearchesTheRowWhereTheListIsFull) {
  Batch batch;
  std::vector<float> flat = RandomValues<float>(4501, 1);
  for (const int top_k : {0, 4096, 4097, 4500})
    batch.Append(flat, {.temperature = 1, .top_k = top_k, .top_p = 0.9F, .position = top_k});
  std::fill(flat.begin(), flat.end(), 2.0F);
  for (const int position : {0, 1})
    batch.Append(
        flat, {.temperature = 0.5F, .top_p = position % 2 == 0 ? 1 : 0.5F, .position = position});

  ExpectAsOnCpuUnderEverySchedule(batch);
}

// One candidate is near, and top_k or top_p reach beyond it: 2000 at exp(-10.5) weigh 0.055.
TEST(Sample, SearchesTheRowBeyondTheList) {
  Batch batch;
  std::vector<float> row(2001, -10.5F);
  row[1000] = 0;
  for (int i = 0; i < 100 / kFewer; ++i)
    batch.Append(row, {.temperature = 1,
                       .top_k = i % 3 == 0 ? 1500 : 0,
                       .top_p = i % 2 == 0 ? 0.99F : 1.0F,
                       .position = i});

  ExpectAsOnCpu(batch);
}

// The first of two candidates weighs exactly what the draw asks for, which is enough.
TEST(Sample, TakesAPrefixThatWeighsExactlyEnough) {
  constexpr std::uint64_t kOne = std::uint64_t{1} << backend::kWeightBits;
  Batch batch;
  for (int position = 0; position < (1 << 20); ++position) {
    const double uniform = backend::UniformAt(1, position);
    if (uniform < 0.5) continue;
    const auto second = static_cast<float>(std::log((1 - uniform) / uniform));
    const std::uint64_t total = kOne + backend::Weight(second);
    if (backend::WeightOfDraw(static_cast<float>(uniform), total) == kOne)
      batch.Append({second, 0}, {.temperature = 1, .seed = 1, .position = position});
  }
  ASSERT_FALSE(batch.sampling.empty());

  for (const SampledToken& token : SampleOnDevice(batch, batch.sampling.size()))
    EXPECT_EQ(token.id, 1);
  ExpectAsOnCpu(batch);
}

TEST(Sample, KeepsTheFirstOfEqualLogits) {
  Batch batch;
  const std::vector<float> row = {1, 3, 2, 3, 3, -1, 3};
  for (int i = 0; i < 60 / kFewer; ++i)
    batch.Append(row, {.temperature = 1, .top_k = 1 + i % 5, .position = i});
  for (int i = 0; i < 60 / kFewer; ++i)
    batch.Append(
        row, {.temperature = 1, .top_p = 0.1F + 0.2F * static_cast<float>(i % 5), .position = i});

  ExpectAsOnCpuUnderEverySchedule(batch);
}

TEST(Sample, TakesTheLowestIdAmongEqualsWhenGreedy) {
  Batch batch;
  batch.Append({0, 5, 5, 5}, {});
  batch.Append({-0.0F, 0.0F, -1, -1}, {});
  batch.Append({-1, -0.0F, 0.0F, -kInfinity}, {});

  ExpectAsOnCpuUnderEverySchedule(batch);
}

TEST(Sample, DrawsNothingFromLogitsThatAreNoNumbers) {
  for (const float temperature : {0.0F, 1.0F}) {
    Batch batch;
    for (const float bad : {kNan, -kNan, kInfinity}) {
      std::vector<float> row(40, 1.0F);
      row[39] = bad;
      batch.Append(row, {.temperature = temperature});
    }
    batch.Append(std::vector<float>(40, -kInfinity), {.temperature = temperature});

    UnderEverySchedule([&] {
      for (const SampledToken& token : SampleOnDevice(batch, 4)) {
        EXPECT_EQ(token.id, -1);
        EXPECT_EQ(token.logprob, 0);
      }
    });
  }
}

TEST(Sample, IgnoresWhatLiesBeyondTheVocabulary) {
  Batch batch;
  for (const float beyond : {kNan, kInfinity, 100.0F})
    batch.Append({1, 2, beyond}, {.temperature = 1, .vocabulary = 2});

  ExpectAsOnCpuUnderEverySchedule(batch);
}

TEST(Sample, TakesTheLargestAndTheSmallestNumbers) {
  constexpr float kMost = std::numeric_limits<float>::max();
  constexpr float kLeast = std::numeric_limits<float>::denorm_min();
  Batch batch;
  for (const float temperature : {0.0F, 1.0F, kMost}) {
    batch.Append({-kMost, kMost, kLeast, 0}, {.temperature = temperature});
    batch.Append({-kMost, -kMost, -kInfinity, -kMost}, {.temperature = temperature});
    batch.Append({0, -kLeast, kLeast, -0.0F}, {.temperature = temperature, .top_k = 2});
  }

  ExpectAsOnCpuUnderEverySchedule(batch);
}

TEST(Sample, LeavesRowsBeyondTheCountAlone) {
  const Batch batch = RandomRows(1).Rows(33, kRowCapacity);

  for (const std::size_t rows : {0U, 1U}) {
    UnderEverySchedule([&] {
      const std::vector<SampledToken> tokens = SampleOnDevice(batch, rows);
      for (std::size_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(tokens[i].id == -7, i >= rows);
    });
  }
}

TEST(Sample, LaunchesNothingForNoRows) {
  simt::Reset();

  EXPECT_EQ(Sample({.columns = 4}, nullptr), cudaSuccess);

  EXPECT_EQ(simt::Count().launches, 0);
}

}  // namespace
}  // namespace codegen::cuda
