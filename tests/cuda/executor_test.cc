// SPDX-License-Identifier: Apache-2.0
//
// Whole models step by step on the emulated GPU: the logits that they should have, what a step asks
// of the device, and what becomes of a step that fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "base/thread_pool.h"
#include "cuda/cuda_backend.h"
#include "cuda/cuda_device.h"
#include "model/executor_of.h"
#include "model/loader.h"
#include "support/reference_backend.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/sine_model.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using model::Architecture;
using testing::IsOk;
using testing::StatusIs;

class SineHost {
 public:
  explicit SineHost(const CudaOptions& options)
      : device_(*CudaDevice::Create(options, simt::PretendBlas(), *pool_)) {}
  CudaDevice& device() { return *device_; }

 private:
  std::unique_ptr<base::ThreadPool> pool_ = *base::ThreadPool::Create(1);
  std::unique_ptr<CudaDevice> device_;
};

class OracleHost {
 public:
  testing::ReferenceDevice& device() { return device_; }

 private:
  testing::ReferenceDevice device_;
};

template <class B, class Layer, class Host>
std::shared_ptr<const model::DeviceModel> LoadLayers(const model::ModelConfig& config,
                                                     WeightFormat format,
                                                     std::shared_ptr<Host> host) {
  using D = typename B::Device;
  model::RowInspector inspector(model::RowInspector::Finite::kRequire);
  const testing::SineSource source(config);
  const model::LoadPlan plan{.config = config, .formats = {format, format}};
  auto weights = model::Loader<D>(host->device(), source, inspector, plan).template Load<Layer>();
  EXPECT_TRUE(weights.ok()) << weights.status();
  return std::make_shared<const model::DeviceModelOf<B, Layer, Host>>(std::move(host),
                                                                      *std::move(weights));
}

template <class B, class Host>
std::shared_ptr<const model::DeviceModel> LoadSine(const model::ModelConfig& config,
                                                   WeightFormat format,
                                                   std::shared_ptr<Host> host) {
  using D = typename B::Device;
  if (config.architecture == Architecture::kLlama)
    return LoadLayers<B, model::LlamaLayerOf<D>>(config, format, std::move(host));
  return LoadLayers<B, model::CodeGenLayerOf<D>>(config, format, std::move(host));
}

// Steps of sequences that each have 4 pages of their own.
class Sequences {
 public:
  static constexpr std::int64_t kPages = 4;

  explicit Sequences(int count) : done_(static_cast<std::size_t>(count)) {}

  // Adds `rows` tokens of a sequence to the next step, or all of `tokens`.
  void Add(int sequence, const std::vector<TokenId>& tokens) {
    auto& done = done_[static_cast<std::size_t>(sequence)];
    for (const TokenId token : tokens) {
      tokens_.push_back(token);
      positions_.push_back(done++);
    }
    first_row_.push_back(static_cast<std::int32_t>(tokens_.size()));
    for (int page = 0; page < kPages; ++page)
      pages_.push_back(static_cast<std::int32_t>(sequence * kPages + (page ^ 1)));
    first_page_.push_back(static_cast<std::int32_t>(pages_.size()));
    logit_rows_.push_back(static_cast<std::int32_t>(tokens_.size()) - 1);
  }

  // Runs what was added and returns the logits of the last row of each sequence.
  absl::StatusOr<std::vector<float>> Step(model::Executor& executor, int vocabulary) {
    std::vector<float> logits(logit_rows_.size() * static_cast<std::size_t>(vocabulary));
    const absl::Status status = executor.Step(rows(), {.logits = logits});
    Clear();
    if (!status.ok()) return status;
    return logits;
  }

  // The same, sampled greedily.
  absl::StatusOr<std::vector<TokenId>> Greedy(model::Executor& executor, int vocabulary) {
    const std::vector<backend::Sampling> sampling(logit_rows_.size(), {.vocabulary = vocabulary});
    std::vector<backend::SampledToken> sampled(logit_rows_.size());
    const absl::Status status = executor.Step(rows(), {.sampling = sampling, .tokens = sampled});
    Clear();
    if (!status.ok()) return status;
    std::vector<TokenId> ids;
    for (const backend::SampledToken& token : sampled) ids.push_back(token.id);
    return ids;
  }

 private:
  backend::Rows rows() const {
    return {tokens_, positions_, first_row_, first_page_, pages_, logit_rows_};
  }
  void Clear() {
    tokens_.clear();
    positions_.clear();
    first_row_ = {0};
    first_page_ = {0};
    pages_.clear();
    logit_rows_.clear();
  }

  std::vector<int> done_;
  std::vector<TokenId> tokens_;
  std::vector<std::int32_t> positions_, first_row_ = {0}, first_page_ = {0}, pages_, logit_rows_;
};

class CudaExecutor : public ::testing::Test {
 protected:
  void SetUp() override { simt::Reset(); }
  void TearDown() override {
    executor_.reset();
    model_.reset();
    EXPECT_EQ(simt::Count().live_allocations, 0);
    EXPECT_EQ(simt::Count().live_graphs, 0);
    EXPECT_EQ(simt::Count().live_streams, 0);
  }

  void Make(const model::ModelConfig& config, WeightFormat format = WeightFormat::kBf16,
            const CudaOptions& options = {}) {
    vocabulary_ = config.vocabulary;
    model_ = LoadSine<CudaBackend>(config, format, std::make_shared<SineHost>(options));
    auto executor = model_->MakeExecutor({.pages = 48, .rows = 96, .logit_rows = 12});
    ASSERT_THAT(executor, IsOk());
    executor_ = *std::move(executor);
  }

  int vocabulary_ = 0;
  std::shared_ptr<const model::DeviceModel> model_;
  std::unique_ptr<model::Executor> executor_;
};

// The root of the mean square of differences, as a part of that of the expected.
double TypicalError(const std::vector<float>& found, const std::vector<float>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  double squares = 0;
  double magnitude = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = double{found[i]} - expected[i];
    squares += difference * difference;
    magnitude += double{expected[i]} * expected[i];
  }
  return std::sqrt(squares / magnitude);
}

// Held against the oracle with the same weights. Activations of bf16 are off by up to 2^-9 of
// themselves in each of some dozen operations, and products of these models cancel a good deal.
TEST_F(CudaExecutor, ComputesWhatTheReferenceComputes) {
  for (const auto& config :
       {testing::TinyCodeGen(4), testing::TinyCodeGen(8), testing::TinyLlama()}) {
    for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16,
                                      WeightFormat::kInt8, WeightFormat::kInt4}) {
      Make(config, format);
      const auto oracle =
          *LoadSine<testing::ReferenceBackend>(config, format, std::make_shared<OracleHost>())
               ->MakeExecutor({.pages = 48, .rows = 96, .logit_rows = 12});
      Sequences sequences(4), expected(4);
      for (int step = 0; step < 4; ++step) {
        std::vector<TokenId> tokens;
        for (int i = 0; i < (step % 2 == 0 ? 11 : 1); ++i) tokens.push_back((7 * i + step) % 13);
        for (Sequences* each : {&sequences, &expected}) {
          each->Add(0, tokens);
          each->Add(1 + step % 3, {3, 1, 4, 1, 5});
        }
        const auto logits = sequences.Step(*executor_, vocabulary_);
        ASSERT_THAT(logits, IsOk());
        EXPECT_LT(TypicalError(*logits, *expected.Step(*oracle, vocabulary_)), 0.02)
            << WeightFormatName(format) << " step " << step;
      }
    }
  }
}

// A prompt of 40 tokens at once, in chunks, and token by token, which is by graphs.
TEST_F(CudaExecutor, ChunksAndDecodesAgreeWithOnePrompt) {
  std::vector<TokenId> prompt;
  for (int i = 0; i < 40; ++i) prompt.push_back(i * i % 13);
  for (const auto& config : {testing::TinyCodeGen(4), testing::TinyLlama()}) {
    Make(config);
    Sequences sequences(3);
    sequences.Add(0, prompt);
    const auto whole = sequences.Step(*executor_, vocabulary_);
    ASSERT_THAT(whole, IsOk());

    std::vector<float> chunked;
    for (const auto& [first, count] : {std::pair{0, 9}, {9, 30}, {39, 1}}) {
      sequences.Add(1, {prompt.begin() + first, prompt.begin() + first + count});
      chunked = *sequences.Step(*executor_, vocabulary_);
    }
    std::vector<float> stepped;
    for (const TokenId token : prompt) {
      sequences.Add(2, {token});
      stepped = *sequences.Step(*executor_, vocabulary_);
    }

    EXPECT_LT(TypicalError(chunked, *whole), 0.01);
    EXPECT_LT(TypicalError(stepped, *whole), 0.01);
  }
}

// What a graph answers for a sequence among others, in buckets of all sizes, is to the bit what a
// step without a graph answers for it: one that also has a chunk of a prompt.
TEST_F(CudaExecutor, DeterministicStepsDoNotDependOnGraphsOrNeighbours) {
  Make(testing::TinyCodeGen(4), WeightFormat::kBf16, {.deterministic = true});
  const std::vector<TokenId> prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  for (const int neighbours : {0, 0, 0, 1, 1, 1, 2, 2, 2, 7, 7, 7}) {  // seen, captured, launched
    Sequences sequences(10);
    sequences.Add(0, prompt);
    ASSERT_THAT(sequences.Step(*executor_, vocabulary_), IsOk());
    sequences.Add(8, prompt);
    ASSERT_THAT(sequences.Step(*executor_, vocabulary_), IsOk());

    for (int i = 1; i <= neighbours; ++i) sequences.Add(i, {i});
    sequences.Add(0, {7});
    const auto by_graph = sequences.Step(*executor_, vocabulary_);
    sequences.Add(8, {7});
    sequences.Add(9, prompt);
    const auto without = sequences.Step(*executor_, vocabulary_);

    ASSERT_THAT(by_graph, IsOk());
    ASSERT_THAT(without, IsOk());
    const auto width = static_cast<std::ptrdiff_t>(vocabulary_);
    EXPECT_EQ(std::vector(by_graph->end() - width, by_graph->end()),
              std::vector(without->begin(), without->begin() + width))
        << neighbours << " neighbours";
  }
}

// After the second of its kind a decode is one copy of arrays, one graph and one wait.
TEST_F(CudaExecutor, ADecodeIsOneCopyOneGraphAndOneWait) {
  Make(testing::TinyCodeGen(4));
  Sequences sequences(3);
  const auto step = [&] {
    for (int i = 0; i < 3; ++i) sequences.Add(i, {5});
    EXPECT_THAT(sequences.Greedy(*executor_, vocabulary_), IsOk());
  };
  step();
  EXPECT_EQ(simt::Count().live_graphs, 0);
  step();
  const simt::Counters before = simt::Count();
  step();
  const simt::Counters after = simt::Count();

  EXPECT_EQ(after.graph_launches - before.graph_launches, 1);
  EXPECT_EQ(after.launches - before.launches, 0);
  EXPECT_EQ(after.synchronizations - before.synchronizations, 1);
  EXPECT_EQ(after.allocations - before.allocations, 0);
  EXPECT_EQ(after.pageable_copies - before.pageable_copies, 0);
  EXPECT_EQ(after.live_graphs - before.live_graphs, 0);
}

TEST_F(CudaExecutor, AStepWithAPromptNeitherAllocatesNorCopiesPageableMemory) {
  Make(testing::TinyLlama());
  Sequences sequences(2);
  const auto step = [&](int sequence) {
    sequences.Add(sequence, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
    EXPECT_THAT(sequences.Greedy(*executor_, vocabulary_), IsOk());
  };
  step(0);
  const simt::Counters before = simt::Count();
  step(1);
  const simt::Counters after = simt::Count();

  EXPECT_EQ(after.synchronizations - before.synchronizations, 1);
  EXPECT_EQ(after.allocations - before.allocations, 0);
  EXPECT_EQ(after.pageable_copies - before.pageable_copies, 0);
}

// Every call that a step makes fails once, each in a run of its own: the step says so, and the next
// one is right again.
TEST_F(CudaExecutor, R06AFailedCallFailsItsStepAndNoOther) {
  Make(testing::TinyCodeGen(4));
  const auto step = [this] {
    Sequences sequences(2);
    sequences.Add(0, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
    sequences.Add(1, {2});
    return sequences.Greedy(*executor_, vocabulary_);
  };
  const std::vector<TokenId> expected = *step();
  int nth = 1;
  for (; nth < 1000; ++nth) {
    simt::Inject({.call = simt::Call::kAny, .nth = nth, .error = cudaErrorUnknown});
    const auto failed = step();
    if (simt::HasPendingFaults()) break;  // a step makes fewer calls
    EXPECT_THAT(failed.status(), StatusIs(absl::StatusCode::kInternal)) << nth;

    const auto tokens = step();
    ASSERT_THAT(tokens, IsOk());
    EXPECT_EQ(*tokens, expected) << nth;
  }
  EXPECT_GT(nth, 20);
  simt::Reset();
}

// The same where a graph is captured, as in the second step of its kind. The step goes on without a
// graph if only that has failed, for want of memory say.
TEST_F(CudaExecutor, R06AFailedCaptureCostsItsStepAtMost) {
  int recovered = 0;
  int nth = 1;
  for (; nth < 1000; ++nth) {
    simt::Reset();
    Make(testing::TinyCodeGen(4));
    const auto step = [this] {
      Sequences sequences(1);
      sequences.Add(0, {2});
      return sequences.Greedy(*executor_, vocabulary_);
    };
    const std::vector<TokenId> expected = *step();
    simt::Inject({.call = simt::Call::kAny, .nth = nth, .error = cudaErrorMemoryAllocation});
    const auto hit = step();
    const bool pending = simt::HasPendingFaults();
    if (hit.ok()) {
      EXPECT_EQ(*hit, expected);
      ++recovered;
    } else {
      EXPECT_THAT(hit.status(), StatusIs(absl::StatusCode::kResourceExhausted)) << nth;
    }
    if (!pending) {
      const auto next = step();
      ASSERT_THAT(next, IsOk()) << nth;
      EXPECT_EQ(*next, expected);
    }
    executor_.reset();
    model_.reset();
    if (pending) break;
  }
  EXPECT_GT(nth, 20);
  EXPECT_GT(recovered, 10);
  simt::Reset();
}

TEST_F(CudaExecutor, R07ALostDeviceIsUnavailableForGood) {
  Make(testing::TinyCodeGen(4));
  Sequences sequences(1);
  simt::Inject({.call = simt::Call::kSynchronize,
                .error = cudaErrorIllegalAddress,
                .lasting = simt::Lasting::kSticky});
  for (int step = 0; step < 2; ++step) {
    sequences.Add(0, {1});
    EXPECT_THAT(sequences.Greedy(*executor_, vocabulary_).status(),
                StatusIs(absl::StatusCode::kUnavailable));
  }
  executor_.reset();
  model_.reset();
  simt::Reset();
}

TEST_F(CudaExecutor, MemoryBeyondTheBudgetIsRefusedAndGivenBack) {
  Make(testing::TinyCodeGen(4), WeightFormat::kBf16, {.memory = std::int64_t{64} << 20});
  const std::int64_t live = simt::Count().live_allocations;
  EXPECT_THAT(model_->MakeExecutor({.pages = 1 << 20, .rows = 96, .logit_rows = 12}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(simt::Count().live_allocations, live);
}

}  // namespace
}  // namespace codegen::cuda
