// SPDX-License-Identifier: Apache-2.0
//
// Of the pretended algorithms number 0 is what cuBLASLt thinks best, and number 1 the fastest
// (support/simt/runtime/cublaslt.h).
#include "cuda/tune.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cuda/gemm.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::cuda {
namespace {

using backend::Holds;
using backend::Then;
using testing::IsOk;
using testing::StatusIs;

class TuneTest : public ::testing::Test {
 protected:
  void SetUp() override { Make(simt::PretendBlas()); }
  void TearDown() override {
    weights_.clear();
    device_.reset();
    EXPECT_EQ(simt::Count().live_allocations, 0);
    simt::Reset();
  }

  void Make(const absl::StatusOr<BlasFunctions>& blas, std::int64_t memory = 64 << 20) {
    weights_.clear();
    device_.reset();
    simt::Reset();
    device_ = *CudaDevice::Create({.memory = memory}, blas, *pool_);
  }

  LinearProduct MakeProduct(std::int64_t outputs, std::int64_t inputs, Then then, Holds y,
                            WeightFormat format = WeightFormat::kBf16) {
    const backend::MatrixSource zeros = {
        .rows = outputs, .columns = inputs, .read = [](std::int64_t, std::int64_t, auto out) {
          std::ranges::fill(out, 0.0F);
          return absl::OkStatus();
        }};
    const std::vector<float> bias(static_cast<std::size_t>(outputs));
    weights_.push_back(std::make_unique<Weight>(*device_->MakeWeight(zeros, bias, format)));
    return {.weight = weights_.back().get(), .then = then, .y = y};
  }

  // One of each kind that models have.
  std::vector<LinearProduct> MakeProducts() {
    return {MakeProduct(24, 16, Then::kStore, Holds::kFactors),
            MakeProduct(16, 16, Then::kStore, Holds::kSums),
            MakeProduct(32, 16, Then::kGelu, Holds::kFactors),
            MakeProduct(16, 32, Then::kAdd, Holds::kSums)};
  }

  // How often each algorithm computes these, of a number of rows, when a step asks for it.
  std::array<std::int64_t, 3> Used(std::span<const LinearProduct> products, int rows) {
    const Stream stream = *Stream::Create();
    Gemm gemm = *Gemm::Create(simt::PretendBlas(), device_->budget());
    gemm.BeginWith(device_->tuning());
    auto used = simt::Count().products_by_algorithm;
    for (const LinearProduct& product : products) {
      const DeviceBuffer count = *DeviceBuffer::Create(device_->budget(), sizeof(std::int32_t));
      const Tensor x = *device_->MakeTensor(rows, product.weight->inputs, Holds::kFactors);
      Tensor y = *device_->MakeTensor(rows, product.weight->outputs, product.y);
      EXPECT_THAT(PutLinear({.gemm = &gemm}, x, *product.weight, product.then,
                            {.count = count.as<std::int32_t>(), .capacity = rows}, y, stream),
                  IsOk());
      EXPECT_THAT(stream.Synchronize(), IsOk());
    }
    for (std::size_t i = 0; i < used.size(); ++i)
      used[i] = simt::Count().products_by_algorithm[i] - used[i];
    return used;
  }

  std::unique_ptr<base::ThreadPool> pool_ = *base::ThreadPool::Create(1);
  std::unique_ptr<CudaDevice> device_;
  std::vector<std::unique_ptr<Weight>> weights_;
  testing::TempFolder folder_;
};

TEST_F(TuneTest, MakesStepsUseWhatWasFastest) {
  const std::vector<LinearProduct> products = MakeProducts();
  EXPECT_EQ(Used(products, 80), (std::array<std::int64_t, 3>{4, 0, 0})) << "before";
  const std::int64_t free = device_->budget().free_bytes();

  const absl::StatusOr<Tuned> tuned = TuneProducts(*device_, products, {.rows = 96}, {});

  ASSERT_THAT(tuned, IsOk());
  EXPECT_THAT(tuned->failure, IsOk());
  EXPECT_EQ(tuned->products, 2 * 4) << "of 65 to 80 rows, and of 81 to 96";
  EXPECT_EQ(tuned->measured, 2 * 4);
  EXPECT_EQ(device_->budget().free_bytes(), free);
  EXPECT_EQ(Used(products, 80), (std::array<std::int64_t, 3>{0, 4, 0}));
  EXPECT_EQ(Used(products, 96), (std::array<std::int64_t, 3>{0, 4, 0}));
  EXPECT_EQ(Used(products, 112), (std::array<std::int64_t, 3>{4, 0, 0})) << "beyond";
}

TEST_F(TuneTest, LeavesToOurKernelsWhatTheyDo) {
  const std::vector<LinearProduct> products = {
      MakeProduct(24, 16, Then::kStore, Holds::kSums, WeightFormat::kInt8),
      MakeProduct(12, 16, Then::kStore, Holds::kSums),
      MakeProduct(24, 16, Then::kAdd, Holds::kFactors)};
  const simt::Counters before = simt::Count();

  const absl::StatusOr<Tuned> none = TuneProducts(*device_, products, {.rows = 512}, {});
  const absl::StatusOr<Tuned> few = TuneProducts(*device_, MakeProducts(), {.rows = 64}, {});

  for (const absl::StatusOr<Tuned>& tuned : {none, few}) {
    ASSERT_THAT(tuned, IsOk());
    EXPECT_THAT(tuned->failure, IsOk());
    EXPECT_EQ(tuned->products, 0);
  }
  EXPECT_EQ(simt::Count().heuristics, before.heuristics);
}

TEST_F(TuneTest, DoesNothingUnlessAskedTo) {
  const absl::StatusOr<Tuned> tuned = TuneProducts(*device_, MakeProducts(), {}, {});

  ASSERT_THAT(tuned, IsOk());
  EXPECT_EQ(tuned->products, 0);
  EXPECT_TRUE(device_->tuning()->empty());
}

TEST_F(TuneTest, DoesNothingWithoutALibrary) {
  Make(absl::FailedPreconditionError("none"));
  const TuningOptions options = {.rows = 512, .file = folder_.Write("tuning", "not even read")};

  ASSERT_THAT(ReadTuningOf(*device_, options), IsOk());
  const absl::StatusOr<Tuned> tuned = TuneProducts(*device_, MakeProducts(), options, {});

  ASSERT_THAT(tuned, IsOk());
  EXPECT_EQ(tuned->products, 0);
}

// --- The file -----------------------------------------------------------------------------------

TEST_F(TuneTest, MeasuresOnlyWhatTheFileDoesNotHold) {
  const TuningOptions options = {.rows = 80, .file = folder_.Path("tuning")};
  ASSERT_THAT(TuneProducts(*device_, MakeProducts(), options, *ReadTuningOf(*device_, options)),
              IsOk());
  const std::string first = *base::ReadFile(options.file, 1 << 20);

  Make(simt::PretendBlas());
  const std::vector<LinearProduct> products = MakeProducts();
  const auto again = TuneProducts(*device_, products, options, *ReadTuningOf(*device_, options));
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->products, 4);
  EXPECT_EQ(again->measured, 0);
  EXPECT_EQ(simt::Count().products_by_algorithm, (std::array<std::int64_t, 3>{0, 0, 0}));
  EXPECT_EQ(Used(products, 80), (std::array<std::int64_t, 3>{0, 4, 0}));
  EXPECT_EQ(*base::ReadFile(options.file, 1 << 20), first);

  const TuningOptions more = {.rows = 96, .file = options.file};
  const auto larger = TuneProducts(*device_, products, more, *ReadTuningOf(*device_, more));
  ASSERT_THAT(larger, IsOk());
  EXPECT_EQ(larger->products, 8);
  EXPECT_EQ(larger->measured, 4);
  EXPECT_EQ(ReadTuningOf(*device_, more)->size(), 8U);
}

TEST_F(TuneTest, KeepsWhatOtherModelsHaveMeasured) {
  const TuningOptions options = {.rows = 80, .file = folder_.Path("tuning")};
  for (const std::int64_t outputs : {8, 16}) {
    const LinearProduct product = MakeProduct(outputs, 8, Then::kStore, Holds::kSums);
    ASSERT_THAT(
        TuneProducts(*device_, std::span(&product, 1), options, *ReadTuningOf(*device_, options)),
        IsOk());
  }

  EXPECT_EQ(ReadTuningOf(*device_, options)->size(), 2U);
}

// The library never sees such bytes: it would trust them.
TEST_F(TuneTest, MeasuresAgainWhatNamesNoAlgorithmOfTheLibrary) {
  const std::vector<LinearProduct> products = MakeProducts();
  GemmTuning hostile;
  for (const LinearProduct& product : products)
    hostile[GemmProductOf(product, 80)->shape] = {.data = {0xDEADBEEF, 1, 2, 3, 4, 5, 6, 7}};

  const absl::StatusOr<Tuned> tuned = TuneProducts(*device_, products, {.rows = 80}, hostile);

  ASSERT_THAT(tuned, IsOk());
  EXPECT_EQ(tuned->measured, 4);
  EXPECT_EQ(Used(products, 80), (std::array<std::int64_t, 3>{0, 4, 0}));
}

TEST_F(TuneTest, BeginsWithNothingThatTheLibraryDoesNotOffer) {
  const std::vector<LinearProduct> products = MakeProducts();
  GemmTuning hostile;
  for (const LinearProduct& product : products)
    hostile[GemmProductOf(product, 80)->shape] = {.data = {0xDEADBEEF, 1, 2, 3, 4, 5, 6, 7}};

  device_->SetTuning(std::make_shared<const GemmTuning>(hostile));

  EXPECT_EQ(Used(products, 80), (std::array<std::int64_t, 3>{4, 0, 0}));
}

TEST_F(TuneTest, SaysWhichFileItCannotReadOrWrite) {
  const TuningOptions other = {.rows = 80, .file = folder_.Write("notes.txt", "my notes")};
  EXPECT_THAT(ReadTuningOf(*device_, other),
              StatusIs(absl::StatusCode::kDataLoss, "LoadOptions::tuning.file: notes.txt"));

  const TuningOptions nowhere = {.rows = 80, .file = folder_.Path("nowhere/tuning")};
  ASSERT_THAT(ReadTuningOf(*device_, nowhere), IsOk());
  EXPECT_THAT(TuneProducts(*device_, MakeProducts(), nowhere, {}),
              StatusIs(absl::StatusCode::kNotFound, "LoadOptions::tuning.file: tuning"));
}

// --- Failures -----------------------------------------------------------------------------------

// Whichever call fails, the choice of the library stays, nothing leaks and nothing is written.
TEST_F(TuneTest, LeavesTheLibrarysChoiceWhereACallFails) {
  const std::vector<LinearProduct> products = MakeProducts();
  const TuningOptions options = {.rows = 80, .file = folder_.Path("tuning")};
  const std::int64_t free = device_->budget().free_bytes();
  int failures = 0;
  const std::int64_t events = simt::Count().live_events;
  for (;; ++failures) {
    simt::Inject({.nth = failures + 1, .error = cudaErrorInvalidConfiguration});
    const absl::StatusOr<Tuned> tuned = TuneProducts(*device_, products, options, {});
    if (simt::HasPendingFaults()) break;
    ASSERT_THAT(tuned, IsOk());
    EXPECT_FALSE(tuned->failure.ok()) << failures;
    EXPECT_EQ(tuned->products, 0);
    EXPECT_TRUE(device_->tuning()->empty());
    EXPECT_FALSE(base::Exists(options.file));
    EXPECT_EQ(device_->budget().free_bytes(), free);
    EXPECT_EQ(simt::Count().live_events, events);
  }
  EXPECT_FALSE(device_->tuning()->empty());
  EXPECT_GT(failures, 140);
}

TEST_F(TuneTest, LeavesTheLibrarysChoiceWithoutMemory) {
  Make(simt::PretendBlas(), std::int64_t{33} << 20);
  const LinearProduct large = MakeProduct(8192, 16, Then::kStore, Holds::kSums);

  const absl::StatusOr<Tuned> tuned =
      TuneProducts(*device_, std::span(&large, 1), {.rows = 512}, {});

  ASSERT_THAT(tuned, IsOk());
  EXPECT_THAT(tuned->failure, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_TRUE(device_->tuning()->empty());
}

TEST_F(TuneTest, FailsWithTheDevice) {
  const std::vector<LinearProduct> products = MakeProducts();
  simt::Inject({.call = simt::Call::kSynchronize,
                .error = cudaErrorIllegalAddress,
                .lasting = simt::Lasting::kSticky});

  EXPECT_THAT(TuneProducts(*device_, products, {.rows = 80}, {}),
              StatusIs(absl::StatusCode::kUnavailable));
  weights_.clear();
  device_.reset();
  simt::Reset();
}

}  // namespace
}  // namespace codegen::cuda
