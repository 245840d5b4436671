// SPDX-License-Identifier: Apache-2.0
//
// Whole models step by step: the CPU against the oracle, and the promise that a sequence's numbers
// depend on nothing but the sequence - not on threads, on neighbours in the batch, on where its
// pages lie or how its prompt was cut.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_device.h"
#include "model/executor_of.h"
#include "model/loader.h"
#include "model/sharded_executor.h"
#include "support/reference_backend.h"
#include "support/sine_model.h"

namespace codegen::model {
namespace {

class CpuHost {
 public:
  explicit CpuHost(int threads) : pool_(*base::ThreadPool::Create(threads)), device_(*pool_) {}
  cpu::CpuDevice& device() { return device_; }

 private:
  std::unique_ptr<base::ThreadPool> pool_;
  cpu::CpuDevice device_;
};

class ReferenceHost {
 public:
  testing::ReferenceDevice& device() { return device_; }

 private:
  testing::ReferenceDevice device_;
};

template <class B, class Layer, class Host>
std::shared_ptr<const DeviceModel> Load(const ModelConfig& config, WeightFormat format,
                                        std::shared_ptr<Host> host, Shard shard = {}) {
  RowInspector inspector(RowInspector::Finite::kRequire);
  const RandomSource source;
  const LoadPlan plan{.config = config, .shard = shard, .formats = {format, format}};
  auto weights =
      Loader<typename B::Device>(host->device(), source, inspector, plan).template Load<Layer>();
  EXPECT_TRUE(weights.ok()) << weights.status();
  return std::make_shared<const DeviceModelOf<B, Layer, Host>>(host, *std::move(weights));
}

std::shared_ptr<const DeviceModel> OnCpu(const ModelConfig& config, WeightFormat format,
                                         int threads, Shard shard = {}) {
  using D = cpu::CpuDevice;
  auto host = std::make_shared<CpuHost>(threads);
  if (config.architecture == Architecture::kLlama)
    return Load<cpu::CpuBackend, LlamaLayerOf<D>>(config, format, host, shard);
  return Load<cpu::CpuBackend, CodeGenLayerOf<D>>(config, format, host, shard);
}

// In shards, each with `threads` of its own.
std::shared_ptr<const DeviceModel> InShards(int count, const ModelConfig& config,
                                            WeightFormat format, int threads) {
  std::vector<std::shared_ptr<const DeviceModel>> shards;
  for (int rank = 0; rank < count; ++rank)
    shards.push_back(OnCpu(config, format, threads, {.rank = rank, .count = count}));
  return std::make_shared<const ShardedModel>(std::move(shards));
}

std::shared_ptr<const DeviceModel> OnReference(const ModelConfig& config, WeightFormat format) {
  using D = testing::ReferenceDevice;
  auto host = std::make_shared<ReferenceHost>();
  if (config.architecture == Architecture::kLlama)
    return Load<testing::ReferenceBackend, LlamaLayerOf<D>>(config, format, host);
  return Load<testing::ReferenceBackend, CodeGenLayerOf<D>>(config, format, host);
}

// One sequence of a schedule: its tokens, its pages, and how far it has come.
struct Sequence {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> pages;
  int done = 0;
};

constexpr std::int64_t kPages = 64;
constexpr std::int64_t kRows = 256;

std::vector<Sequence> RandomSequences(std::mt19937& random, int count, int vocabulary) {
  std::vector<std::int32_t> free(kPages);
  std::iota(free.begin(), free.end(), 0);
  std::ranges::shuffle(free, random);
  std::vector<Sequence> sequences(static_cast<std::size_t>(count));
  for (Sequence& sequence : sequences) {
    sequence.tokens.resize(1 + random() % 45);
    for (TokenId& token : sequence.tokens)
      token = static_cast<TokenId>(random() % static_cast<unsigned>(vocabulary));
    const std::size_t pages =
        (sequence.tokens.size() + backend::kPageTokens - 1) / backend::kPageTokens;
    sequence.pages.assign(free.end() - static_cast<std::ptrdiff_t>(pages), free.end());
    free.resize(free.size() - pages);
  }
  return sequences;
}

// Runs `chunks[i]` more tokens of sequence i, all in one step, and appends the logits of every row
// to `logits[i]`.
void Step(Executor& executor, int vocabulary, std::vector<Sequence>& sequences,
          const std::vector<int>& chunks, std::vector<std::vector<float>>& logits) {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions, first_row = {0}, first_page = {0}, pages;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    if (chunks[i] == 0) continue;
    for (int k = 0; k < chunks[i]; ++k, ++sequences[i].done) {
      tokens.push_back(sequences[i].tokens[static_cast<std::size_t>(sequences[i].done)]);
      positions.push_back(sequences[i].done);
    }
    pages.insert(pages.end(), sequences[i].pages.begin(), sequences[i].pages.end());
    first_row.push_back(static_cast<std::int32_t>(tokens.size()));
    first_page.push_back(static_cast<std::int32_t>(pages.size()));
  }
  std::vector<std::int32_t> logit_rows(tokens.size());
  std::iota(logit_rows.begin(), logit_rows.end(), 0);
  std::vector<float> all(tokens.size() * static_cast<std::size_t>(vocabulary));
  const absl::Status status =
      executor.Step({tokens, positions, first_row, first_page, pages, logit_rows}, {.logits = all});
  ASSERT_TRUE(status.ok()) << status;
  auto from = all.begin();
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto to = from + chunks[i] * vocabulary;
    logits[i].insert(logits[i].end(), from, to);
    from = to;
  }
}

// Every sequence alone and in one piece.
std::vector<std::vector<float>> RunAlone(const DeviceModel& model, int vocabulary,
                                         std::vector<Sequence> sequences) {
  auto executor = model.MakeExecutor({.pages = kPages, .rows = kRows, .logit_rows = kRows});
  std::vector<std::vector<float>> logits(sequences.size());
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    std::vector<int> chunks(sequences.size(), 0);
    chunks[i] = static_cast<int>(sequences[i].tokens.size());
    Step(**executor, vocabulary, sequences, chunks, logits);
  }
  return logits;
}

// All sequences in steps of random company and random length.
std::vector<std::vector<float>> RunTogether(const DeviceModel& model, int vocabulary,
                                            std::vector<Sequence> sequences, std::mt19937& random) {
  auto executor = model.MakeExecutor({.pages = kPages, .rows = kRows, .logit_rows = kRows});
  std::vector<std::vector<float>> logits(sequences.size());
  for (bool more = true; more;) {
    std::vector<int> chunks;
    more = false;
    for (const Sequence& sequence : sequences) {
      const int left = static_cast<int>(sequence.tokens.size()) - sequence.done;
      chunks.push_back(left == 0 || random() % 3 == 0
                           ? 0
                           : 1 + static_cast<int>(random() % static_cast<unsigned>(left)));
      more |= left > chunks.back();
    }
    if (std::ranges::any_of(chunks, [](int n) { return n > 0; }))
      Step(**executor, vocabulary, sequences, chunks, logits);
  }
  return logits;
}

ModelConfig MiddlingCodeGen() {
  ModelConfig config = testing::TinyCodeGen(4);
  config.width = 160;
  config.inner = 640;
  config.vocabulary = 77;
  config.heads = {.count = 4, .dim = 40, .rotary_dim = 16};
  return config;
}

ModelConfig MiddlingLlama() {
  ModelConfig config = testing::TinyLlama();
  config.width = 96;
  config.inner = 198;
  config.vocabulary = 77;
  config.heads = {
      .count = 3, .dim = 32, .rotary_dim = 32, .rotary_pairs = backend::RotaryPairs::kHalves};
  return config;
}

class ExecutorOfBoth : public ::testing::TestWithParam<bool> {
 protected:
  ModelConfig config() const { return GetParam() ? MiddlingLlama() : MiddlingCodeGen(); }
  // Numbers of shards that they can be split into.
  std::vector<int> Shards() const {
    return GetParam() ? std::vector<int>{1, 3} : std::vector<int>{1, 2, 4};
  }
};

// A logit sums a few hundred products of numbers around one, in float32 and in double.
TEST_P(ExecutorOfBoth, CpuMatchesTheReference) {
  std::mt19937 random(7);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16}) {
    const std::vector<Sequence> sequences = RandomSequences(random, 4, config().vocabulary);
    const auto cpu = RunAlone(*OnCpu(config(), format, 2), config().vocabulary, sequences);
    const auto reference = RunAlone(*OnReference(config(), format), config().vocabulary, sequences);
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      ASSERT_EQ(cpu[i].size(), reference[i].size());
      for (std::size_t k = 0; k < cpu[i].size(); ++k)
        ASSERT_NEAR(cpu[i][k], reference[i][k], 2e-5) << i << " " << k;
    }
  }
}

TEST_P(ExecutorOfBoth, NeitherThreadsNorNeighboursNorChunksChangeABit) {
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16}) {
    const auto one_thread = OnCpu(config(), format, 1);
    for (const int threads : {1, 2, 3}) {
      const auto model = OnCpu(config(), format, threads);
      for (unsigned seed = 0; seed < 6; ++seed) {
        std::mt19937 random(seed);
        const std::vector<Sequence> sequences = RandomSequences(random, 6, config().vocabulary);
        EXPECT_EQ(RunTogether(*model, config().vocabulary, sequences, random),
                  RunAlone(*one_thread, config().vocabulary, sequences))
            << "threads " << threads << " seed " << seed;
      }
    }
  }
}

// Shards add the same products in another order.
TEST_P(ExecutorOfBoth, ShardsComputeWhatTheWholeComputes) {
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16}) {
    std::mt19937 random(11);
    const std::vector<Sequence> sequences = RandomSequences(random, 4, config().vocabulary);
    const auto whole = RunAlone(*OnCpu(config(), format, 1), config().vocabulary, sequences);
    for (const int count : Shards()) {
      const auto shards =
          RunAlone(*InShards(count, config(), format, 1), config().vocabulary, sequences);
      for (std::size_t i = 0; i < whole.size(); ++i) {
        ASSERT_EQ(shards[i].size(), whole[i].size());
        for (std::size_t k = 0; k < whole[i].size(); ++k)
          ASSERT_NEAR(shards[i][k], whole[i][k], 2e-5) << count << " shards: " << i << " " << k;
      }
    }
  }
}

double SquaredDifference(const std::vector<std::vector<float>>& a,
                         const std::vector<std::vector<float>>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t k = 0; k < a[i].size(); ++k) sum += std::pow(a[i][k] - b[i][k], 2);
  return sum;
}

// What a shard rounds are its parts of rows, each with a scale of its own: other numbers, but no
// worse ones.
TEST_P(ExecutorOfBoth, ShardsOfIntegerWeightsAreAsGoodAsTheWhole) {
  std::mt19937 random(11);
  const std::vector<Sequence> sequences = RandomSequences(random, 6, config().vocabulary);
  const auto exact =
      RunAlone(*OnCpu(config(), WeightFormat::kF32, 1), config().vocabulary, sequences);
  for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    const auto whole = RunAlone(*OnCpu(config(), format, 1), config().vocabulary, sequences);
    for (const int count : Shards()) {
      const auto shards =
          RunAlone(*InShards(count, config(), format, 1), config().vocabulary, sequences);
      EXPECT_LT(SquaredDifference(shards, exact), 1.2 * SquaredDifference(whole, exact))
          << WeightFormatName(format) << " in " << count;
    }
  }
}

TEST_P(ExecutorOfBoth, NeitherThreadsNorNeighboursNorChunksChangeABitOfShards) {
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kInt8}) {
    const int count = Shards()[1];
    const auto one_thread = InShards(count, config(), format, 1);
    for (const int threads : {1, 2}) {
      const auto model = InShards(count, config(), format, threads);
      for (unsigned seed = 0; seed < 3; ++seed) {
        std::mt19937 random(seed);
        const std::vector<Sequence> sequences = RandomSequences(random, 6, config().vocabulary);
        EXPECT_EQ(RunTogether(*model, config().vocabulary, sequences, random),
                  RunAlone(*one_thread, config().vocabulary, sequences))
            << "threads " << threads << " seed " << seed;
      }
    }
  }
}

TEST_P(ExecutorOfBoth, RefusesAStepItWasNotMadeFor) {
  const auto model = OnCpu(config(), WeightFormat::kF32, 1);
  auto executor = model->MakeExecutor({.pages = 2, .rows = 2, .logit_rows = 1});
  const std::vector<TokenId> tokens = {1, 2, 3};
  const std::vector<std::int32_t> positions = {0, 1, 2}, first_row = {0, 3}, first_page = {0, 1},
                                  pages = {0}, far = {2}, short_row = {0, 2};

  EXPECT_EQ((*executor)->Step({tokens, positions, first_row, first_page, pages, {}}, {}).code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ((*executor)
                ->Step({std::span(tokens).first(2),
                        std::span(positions).first(2),
                        short_row,
                        first_page,
                        far,
                        {}},
                       {})
                .code(),
            absl::StatusCode::kInternal);
}

INSTANTIATE_TEST_SUITE_P(Architectures, ExecutorOfBoth, ::testing::Bool(),
                         [](const auto& llama) { return llama.param ? "Llama" : "CodeGen"; });

}  // namespace
}  // namespace codegen::model
