// SPDX-License-Identifier: Apache-2.0
#include "cuda/linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <ostream>
#include <random>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "quant/format.h"
#include "support/simt/diagnostics.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using backend::Holds;
using backend::Then;
using testing::IsOk;
using testing::StatusIs;

constexpr WeightFormat kAllFormats[] = {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kF16,
                                        WeightFormat::kInt8, WeightFormat::kInt4};

// Those at which the table of linear.h changes, and some pieces of the kernels' most rows.
constexpr int kRowCounts[] = {1, 8, 9, 64, 65, 130};

constexpr std::int64_t kInputs = 136;  // a group of int4 and a bit

std::vector<float> NormalFloats(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> floats(static_cast<std::size_t>(count));
  std::ranges::generate(floats, [&] { return normal(random); });
  return floats;
}

std::vector<float> Bf16Values(std::vector<float> floats) {
  quant::RoundTo(WeightFormat::kBf16, floats);
  return floats;
}

backend::MatrixSource FloatsOf(const std::vector<float>& floats, std::int64_t columns) {
  return {.rows = static_cast<std::int64_t>(floats.size()) / columns,
          .columns = columns,
          .read = [&floats, columns](std::int64_t first, std::int64_t count, std::span<float> out) {
            std::copy_n(floats.begin() + first * columns, count * columns, out.begin());
            return absl::OkStatus();
          }};
}

struct LinearProblem {
  WeightFormat format = WeightFormat::kBf16;
  Holds x = Holds::kFactors;
  Holds y = Holds::kSums;
  Then then = Then::kStore;
  int capacity = 1;
  int rows = 0;  // 0: as many as there can be
  std::int64_t outputs = 24;
  bool biased = true;
};

std::ostream& operator<<(std::ostream& out, const LinearProblem& p) {
  return out << WeightFormatName(p.format) << ", x " << (p.x == Holds::kSums ? "f32" : "bf16")
             << ", y " << (p.y == Holds::kSums ? "f32" : "bf16") << ", then "
             << static_cast<int>(p.then) << ", " << p.rows << " of " << p.capacity << " rows, "
             << p.outputs << " outputs" << (p.biased ? "" : ", no bias");
}

class PutLinearTest : public ::testing::Test {
 protected:
  void SetUp() override {
    simt::Reset();
    device_ = *CudaDevice::Create({.memory = std::int64_t{64} << 20}, simt::PretendBlas(), *pool_);
    stream_.emplace(*Stream::Create());
    gemm_.emplace(*Gemm::Create(simt::PretendBlas(), device_->budget()));
    count_ = *DeviceBuffer::Create(device_->budget(), sizeof(std::int32_t));
  }
  void TearDown() override {
    EXPECT_THAT(simt::TakeDiagnostics(), ::testing::IsEmpty());
    EXPECT_EQ(simt::Count().pageable_copies, 0);
    gemm_.reset();
    stream_.reset();
    count_ = DeviceBuffer();
    EXPECT_EQ(device_->budget().free_bytes(), device_->budget().bytes());
    device_.reset();
    EXPECT_EQ(simt::Count().live_allocations, 0);
    simt::Reset();
  }

  LinearChoice choice() { return {.gemm = &*gemm_}; }

  Tensor MakeRows(const std::vector<float>& floats, int rows, Holds holds) {
    const std::int64_t columns = static_cast<std::int64_t>(floats.size()) / rows;
    Tensor tensor = *device_->MakeTensor(rows, columns, holds);
    tensor.SetRows(rows);
    EXPECT_THAT(device_->Upload(floats, tensor), IsOk());
    return tensor;
  }

  std::vector<float> Rows(const Tensor& tensor) {
    std::vector<float> floats(static_cast<std::size_t>(tensor.rows() * tensor.columns()));
    EXPECT_THAT(device_->Download(tensor, floats), IsOk());
    return floats;
  }

  // y of the problem, whose numbers depend on where they stand alone: the row of one problem is
  // that of another. Counts what was launched for it.
  std::vector<float> Compute(const LinearProblem& p, const LinearChoice& choice) {
    const int rows = p.rows == 0 ? p.capacity : p.rows;
    const Weight weight = *device_->MakeWeight(
        FloatsOf(weights_, kInputs), std::span(bias_).first(p.biased ? bias_.size() : 0), p.format);
    const Tensor x = MakeRows(NormalFloats(p.capacity * kInputs, 1), p.capacity, p.x);
    Tensor y = MakeRows(NormalFloats(p.capacity * p.outputs, 2), p.capacity, p.y);
    *count_.as<std::int32_t>() = rows;
    const simt::Counters before = simt::Count();

    EXPECT_THAT(
        PutLinear(choice, x, weight, p.then,
                  {.count = count_.as<std::int32_t>(), .capacity = p.capacity}, y, *stream_),
        IsOk());

    const simt::Counters after = simt::Count();
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.synchronizations, before.synchronizations);
    EXPECT_EQ(after.polls, before.polls);
    launches_ = after.launches - before.launches;
    products_ = Products(after) - Products(before);
    EXPECT_THAT(stream_->Synchronize(), IsOk());
    return Rows(y);
  }

  static std::int64_t Products(const simt::Counters& counters) {
    const auto& products = counters.products_by_algorithm;
    return std::accumulate(products.begin(), products.end(), std::int64_t{0});
  }

  void SetOutputs(std::int64_t outputs) {
    weights_ = NormalFloats(outputs * kInputs, 3);
    bias_ = NormalFloats(outputs, 4);
  }

  // Computes it and compares with plain loops in double.
  void ExpectProduct(const LinearProblem& p, const LinearChoice& choice);

  std::unique_ptr<base::ThreadPool> pool_ = *base::ThreadPool::Create(1);
  std::unique_ptr<CudaDevice> device_;
  std::optional<Stream> stream_;
  std::optional<Gemm> gemm_;
  DeviceBuffer count_;
  std::vector<float> weights_ = NormalFloats(24 * kInputs, 3);
  std::vector<float> bias_ = NormalFloats(24, 4);
  std::int64_t launches_ = 0;  // of the last Compute
  std::int64_t products_ = 0;  // of these, by cuBLASLt
};

// A sum of n products of float32 has an error of about the root of n halves of a unit in the last
// place of the sum of their magnitudes; codes of int4 are up to three times as large as what they
// stand for. Then gelu, whose slope is at most 1.13, and the rounding of y. Beside factors
// cuBLASLt rounds the bias too.
void PutLinearTest::ExpectProduct(const LinearProblem& p, const LinearChoice& choice) {
  SCOPED_TRACE(::testing::Message() << p);
  const std::vector<float> found = Compute(p, choice);

  std::vector<float> w = weights_;
  for (std::size_t row = 0; row < w.size(); row += kInputs)
    quant::RoundTo(p.format, std::span(w).subspan(row, kInputs));
  std::vector<float> x = NormalFloats(p.capacity * kInputs, 1);
  if (p.x == Holds::kFactors) x = Bf16Values(x);
  std::vector<float> y = NormalFloats(p.capacity * p.outputs, 2);
  if (p.y == Holds::kFactors) y = Bf16Values(y);
  const auto outputs = static_cast<std::size_t>(p.outputs);
  const auto rows = static_cast<std::size_t>(p.rows == 0 ? p.capacity : p.rows);
  const double rounding = p.y == Holds::kSums ? 0x1p-23 : 0x1p-8;
  for (std::size_t i = 0; i < rows * outputs; ++i) {
    const double bias = p.biased ? double{bias_[i % outputs]} : 0;
    double sum = bias;
    double magnitude = std::abs(bias);
    const auto add = [&](double term) {
      sum += term;
      magnitude += std::abs(term);
    };
    for (std::size_t k = 0; k < kInputs; ++k)
      add(double{x[i / outputs * kInputs + k]} * double{w[i % outputs * kInputs + k]});
    if (p.then == Then::kAdd) add(double{y[i]});
    if (p.then == Then::kGelu)
      sum *= (1 + std::tanh(0.79788456080286535588 * (sum + 0.044715 * sum * sum * sum))) / 2;
    const double of_bias =
        products_ > 0 && p.y == Holds::kFactors ? 1.13 * 0x1p-9 * std::abs(bias) : 0;
    const double tolerance = 4 * std::sqrt(kInputs + 8.0) * 0x1p-24 * magnitude +
                             rounding * std::abs(sum) + of_bias + 1e-30;
    ASSERT_NEAR(found[i], sum, tolerance) << "row " << i / outputs << ", output " << i % outputs;
  }
  if (products_ > 0) return;
  for (std::size_t i = rows * outputs; i < found.size(); ++i)
    ASSERT_EQ(found[i], y[i]) << "row " << i / outputs << " of none";
}

// --- Results ------------------------------------------------------------------------------------

TEST_F(PutLinearTest, MultipliesEveryFormatAtEveryNumberOfRows) {
  for (const WeightFormat format : kAllFormats)
    for (const Holds x : {Holds::kFactors, Holds::kSums})
      for (const int rows : kRowCounts)
        ExpectProduct({.format = format, .x = x, .capacity = rows}, choice());
}

TEST_F(PutLinearTest, MultipliesWithoutCublas) {
  for (const WeightFormat format : kAllFormats)
    for (const int rows : kRowCounts)
      ExpectProduct({.format = format, .capacity = rows}, {.gemm = nullptr});
}

TEST_F(PutLinearTest, MultipliesDeterministically) {
  for (const WeightFormat format : kAllFormats)
    for (const int rows : {1, 9, 65})
      ExpectProduct({.format = format, .capacity = rows}, {.gemm = &*gemm_, .deterministic = true});
}

TEST_F(PutLinearTest, StoresAddsAndAppliesGeluToSumsAndFactors) {
  for (const WeightFormat format : {WeightFormat::kF16, WeightFormat::kBf16, WeightFormat::kInt4})
    for (const Then then : {Then::kStore, Then::kAdd, Then::kGelu})
      for (const Holds y : {Holds::kSums, Holds::kFactors})
        for (const bool biased : {false, true})
          for (const int rows : {3, 20, 70})
            ExpectProduct(
                {.format = format, .y = y, .then = then, .capacity = rows, .biased = biased},
                choice());
}

// Fewer than there can be, to the ends of the pieces that kernels take and around them.
TEST_F(PutLinearTest, LeavesRowsAloneThatAreNotThere) {
  for (const WeightFormat format : {WeightFormat::kF16, WeightFormat::kInt8}) {
    ExpectProduct({.format = format, .capacity = 8, .rows = 5}, choice());
    for (const int rows : {1, 8, 9, 63, 64, 65, 127, 128, 129})
      ExpectProduct({.format = format, .then = Then::kAdd, .capacity = 130, .rows = rows},
                    choice());
  }
}

TEST_F(PutLinearTest, TakesAnyNumberOfOutputs) {
  SetOutputs(37);
  for (const WeightFormat format : kAllFormats)
    for (const int rows : {5, 20, 70})
      ExpectProduct({.format = format, .capacity = rows, .outputs = 37}, choice());
}

TEST_F(PutLinearTest, OfCublasServesRowsThatAreNotThere) {
  ExpectProduct({.then = Then::kAdd, .capacity = 80, .rows = 66}, choice());

  EXPECT_EQ(products_, 1);
}

// --- Choice -------------------------------------------------------------------------------------

// How many launches a problem takes, by whom: the few kernel takes 8 rows, the skinny one 64, and
// cuBLASLt any number.
TEST_F(PutLinearTest, ChoosesByTheTable) {
  struct Line {
    WeightFormat format;
    Holds x;
    std::vector<int> launches;  // of kRowCounts
    std::vector<int> products;
  };
  const Line lines[] = {
      {WeightFormat::kBf16, Holds::kFactors, {1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 1, 1}},
      {WeightFormat::kInt8, Holds::kFactors, {1, 1, 1, 1, 2, 3}, {0, 0, 0, 0, 0, 0}},
      {WeightFormat::kInt4, Holds::kFactors, {1, 1, 1, 1, 2, 3}, {0, 0, 0, 0, 0, 0}},
      {WeightFormat::kF16, Holds::kFactors, {1, 1, 2, 8, 9, 17}, {0, 0, 0, 0, 0, 0}},
      {WeightFormat::kF32, Holds::kFactors, {1, 1, 2, 8, 9, 17}, {0, 0, 0, 0, 0, 0}},
      {WeightFormat::kBf16, Holds::kSums, {1, 1, 2, 8, 9, 17}, {0, 0, 0, 0, 0, 0}},
      {WeightFormat::kInt8, Holds::kSums, {1, 1, 2, 8, 9, 17}, {0, 0, 0, 0, 0, 0}},
      {WeightFormat::kInt4, Holds::kSums, {1, 1, 2, 8, 9, 17}, {0, 0, 0, 0, 0, 0}},
  };
  for (const Line& line : lines) {
    for (std::size_t i = 0; i < std::size(kRowCounts); ++i) {
      const LinearProblem p{.format = line.format, .x = line.x, .capacity = kRowCounts[i]};
      Compute(p, choice());
      EXPECT_EQ(launches_, line.launches[i]) << p;
      EXPECT_EQ(products_, line.products[i]) << p;
    }
  }
}

TEST_F(PutLinearTest, WithoutCublasTakesSixtyFourRowsAtATime) {
  for (const bool deterministic : {false, true}) {
    for (std::size_t i = 0; i < std::size(kRowCounts); ++i) {
      const LinearProblem p{.capacity = kRowCounts[i]};
      Compute(p, {.gemm = deterministic ? &*gemm_ : nullptr, .deterministic = deterministic});
      EXPECT_EQ(launches_, (kRowCounts[i] + 63) / 64) << p;
      EXPECT_EQ(products_, 0) << p;
    }
  }
}

TEST_F(PutLinearTest, OfCublasIsWhatItsEpiloguesStore) {
  const auto products = [&](Holds y, Then then) {
    Compute({.y = y, .then = then, .capacity = 65}, choice());
    return products_;
  };

  EXPECT_EQ(products(Holds::kSums, Then::kStore), 1);
  EXPECT_EQ(products(Holds::kSums, Then::kAdd), 1);
  EXPECT_EQ(products(Holds::kSums, Then::kGelu), 0) << "gelu would be stored as bf16";
  EXPECT_EQ(products(Holds::kFactors, Then::kStore), 1);
  EXPECT_EQ(products(Holds::kFactors, Then::kAdd), 0) << "would be rounded before it is added to";
  EXPECT_EQ(products(Holds::kFactors, Then::kGelu), 1);
}

TEST_F(PutLinearTest, OfCublasHasRowsOfWholePieces) {
  SetOutputs(20);

  ExpectProduct({.capacity = 65, .outputs = 20}, choice());

  EXPECT_EQ(products_, 0);
  EXPECT_EQ(launches_, 2);
}

// --- Same bits ----------------------------------------------------------------------------------

TEST_F(PutLinearTest, DeterministicGivesARowTheSameBitsAtAnyNumberOfRows) {
  const LinearChoice deterministic = {.gemm = &*gemm_, .deterministic = true};
  for (const WeightFormat format : kAllFormats) {
    for (const Holds x : {Holds::kFactors, Holds::kSums}) {
      const std::vector<float> all =
          Compute({.format = format, .x = x, .capacity = 130}, deterministic);
      for (const int rows : {1, 2, 5, 8, 9, 33, 64, 65}) {
        const LinearProblem p{.format = format, .x = x, .capacity = rows};
        const std::vector<float> some = Compute(p, deterministic);
        EXPECT_EQ(std::memcmp(some.data(), all.data(), some.size() * sizeof(float)), 0) << p;
      }
    }
  }
}

// The kernels differ in the order of their additions, so the test above can fail.
TEST_F(PutLinearTest, OtherwiseARowMayHaveOtherBitsAmongMore) {
  const std::vector<float> few = Compute({.capacity = 8}, choice());
  const std::vector<float> skinny = Compute({.capacity = 9}, choice());

  EXPECT_NE(std::memcmp(few.data(), skinny.data(), few.size() * sizeof(float)), 0);
}

// --- Failures -----------------------------------------------------------------------------------

TEST_F(PutLinearTest, ReportsALaunchThatFails) {
  SetOutputs(8);
  const Tensor x = MakeRows(NormalFloats(130 * kInputs, 1), 130, Holds::kFactors);
  Tensor y = MakeRows(std::vector<float>(130 * 8), 130, Holds::kSums);
  *count_.as<std::int32_t>() = 130;
  const LinearRows rows{.count = count_.as<std::int32_t>(), .capacity = 130};
  for (const auto& [format, launches, what] :
       {std::tuple{WeightFormat::kF16, 17, "starting a product"},
        {WeightFormat::kInt8, 3, "starting a product"},
        {WeightFormat::kBf16, 1, "multiplying"}}) {
    const Weight w = *device_->MakeWeight(FloatsOf(weights_, kInputs), {}, format);
    for (int nth = 1; nth <= launches; ++nth) {
      simt::Inject(
          {.call = simt::Call::kLaunch, .nth = nth, .error = cudaErrorLaunchOutOfResources});
      EXPECT_THAT(PutLinear(choice(), x, w, Then::kStore, rows, y, *stream_),
                  StatusIs(absl::StatusCode::kResourceExhausted, what))
          << WeightFormatName(format) << ", launch " << nth;
    }
    EXPECT_THAT(PutLinear(choice(), x, w, Then::kStore, rows, y, *stream_), IsOk());
    EXPECT_THAT(stream_->Synchronize(), IsOk());
  }
}

TEST_F(PutLinearTest, RefusesWeightsOfNoFormat) {
  const Tensor x = MakeRows(NormalFloats(8, 1), 1, Holds::kFactors);
  Tensor y = MakeRows({0}, 1, Holds::kSums);
  const Weight none{.format = WeightFormat::kAuto, .outputs = 1, .inputs = 8};

  EXPECT_THAT(PutLinear(choice(), x, none, Then::kStore,
                        {.count = count_.as<std::int32_t>(), .capacity = 1}, y, *stream_),
              StatusIs(absl::StatusCode::kInternal, "weights of no format"));
}

}  // namespace
}  // namespace codegen::cuda
