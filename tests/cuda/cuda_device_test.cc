// SPDX-License-Identifier: Apache-2.0
#include "cuda/cuda_device.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/turns.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "cuda/pack.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/status_is.h"
#include "tensor/half.h"

namespace codegen::cuda {
namespace {

using backend::Holds;
using testing::IsOk;
using testing::StatusIs;

constexpr WeightFormat kEveryFormat[] = {WeightFormat::kF32, WeightFormat::kBf16,
                                         WeightFormat::kF16, WeightFormat::kInt8,
                                         WeightFormat::kInt4};

constexpr backend::Heads kSomeHeads = {.count = 2, .dim = 24, .rotary_dim = 8};

const absl::Status kNoBlas = absl::FailedPreconditionError("no such library");

std::vector<float> Waves(std::int64_t count) {
  std::vector<float> waves;
  for (std::int64_t i = 0; i < count; ++i) waves.push_back(std::sin(static_cast<float>(i)));
  return waves;
}

// Of Waves.
backend::MatrixSource WavesSource(std::int64_t rows, std::int64_t columns) {
  return {.rows = rows,
          .columns = columns,
          .read = [columns](std::int64_t first, std::int64_t count, std::span<float> out) {
            const std::vector<float> all = Waves((first + count) * columns);
            std::copy(all.begin() + first * columns, all.end(), out.begin());
            return absl::OkStatus();
          }};
}

backend::MatrixSource FailingSource(std::int64_t rows, std::int64_t columns) {
  return {
      .rows = rows, .columns = columns, .read = [](std::int64_t, std::int64_t, std::span<float>) {
        return absl::DataLossError("unreadable");
      }};
}

// Whether elements and scales hold the rows of WavesSource.
void ExpectPacked(const RowLayout& layout, std::int64_t rows, const DeviceBuffer& elements,
                  const DeviceBuffer& scales) {
  ASSERT_EQ(elements.bytes(), rows * layout.elements);
  ASSERT_EQ(scales.bytes(), rows * layout.scales);
  const std::vector<float> all = Waves(rows * layout.columns);
  const auto columns = static_cast<std::size_t>(layout.columns);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::byte* const found = elements.data() + row * layout.elements;
    // What fills a row up may be anything: it is taken as found.
    std::vector<std::byte> expected(found, found + layout.elements);
    std::vector<std::byte> expected_scales(static_cast<std::size_t>(layout.scales));
    PackRow(layout, std::span(all).subspan(static_cast<std::size_t>(row) * columns, columns),
            expected.data(), expected_scales.data());
    ASSERT_EQ(std::memcmp(found, expected.data(), expected.size()), 0) << "row " << row;
    for (std::size_t i = 0; i < expected_scales.size(); ++i)
      ASSERT_EQ(scales.data()[row * layout.scales + static_cast<std::int64_t>(i)],
                expected_scales[i]);
  }
}

std::vector<float> FloatsIn(const DeviceBuffer& buffer) {
  const auto* const floats = buffer.as<float>();
  return {floats, floats + buffer.bytes() / 4};
}

class CudaDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override { Make({}); }
  void TearDown() override {
    EXPECT_EQ(simt::Count().pageable_copies, 0);
    ExpectAllReturned();
    device_.reset();
    EXPECT_EQ(simt::Count().live_allocations, 0);
    EXPECT_EQ(simt::Count().live_streams, 0);
    EXPECT_EQ(simt::Count().live_events, 0);
    simt::Reset();
  }

  void Make(const CudaOptions& options, const simt::Settings& settings = {}) {
    device_.reset();
    simt::Reset(settings);
    auto device = CudaDevice::Create(options, simt::PretendBlas(), *pool_);
    ASSERT_THAT(device, IsOk());
    device_ = *std::move(device);
    live_ = simt::Count().live_allocations;
  }

  void ExpectAllReturned() const {
    EXPECT_EQ(device_->budget().free_bytes(), device_->budget().bytes());
    EXPECT_EQ(simt::Count().live_allocations, live_);
  }

  std::int64_t Taken() const { return device_->budget().bytes() - device_->budget().free_bytes(); }

  // Calls make() with ever more memory, up to `needed` in the parts that it is taken in: each time
  // but the last it is refused, and gives back what it took.
  template <class MakeObject>
  void ExpectNeeds(const std::vector<std::int64_t>& parts, const MakeObject& make) {
    std::int64_t needed = 0;
    for (const std::int64_t part : parts) {
      needed += part;
      Make({.memory = needed - 1});
      EXPECT_THAT(make(), StatusIs(absl::StatusCode::kResourceExhausted,
                                   std::to_string(part) + " bytes of GPU memory wanted"));
      ExpectAllReturned();
    }
    Make({.memory = needed});
    const auto object = make();
    EXPECT_THAT(object, IsOk());
    EXPECT_EQ(device_->budget().free_bytes(), 0);
  }

  absl::StatusOr<Weight> MakeWeight(WeightFormat format) {
    return device_->MakeWeight(WavesSource(24, 40), Waves(24), format);
  }

  std::unique_ptr<base::ThreadPool> pool_ = *base::ThreadPool::Create(2);
  std::unique_ptr<CudaDevice> device_;
  std::int64_t live_ = 0;
};

// --- Memory to take ---------------------------------------------------------------------------

TEST_F(CudaDeviceTest, TakesWhatIsFreeUnlessToldHowMuch) {
  void* held = nullptr;
  ASSERT_EQ(cudaMalloc(&held, 1 << 20), cudaSuccess);

  const auto all = CudaDevice::Create({}, kNoBlas, *pool_);
  const auto some = CudaDevice::Create({.memory = 12345}, kNoBlas, *pool_);

  ASSERT_THAT(all, IsOk());
  ASSERT_THAT(some, IsOk());
  constexpr std::int64_t kFree = (1 << 30) - (1 << 20);
  EXPECT_EQ((*all)->budget().bytes(), kFree - kFree / 4) << "the rest is for CUDA";
  EXPECT_EQ((*some)->budget().bytes(), 12345);
  EXPECT_EQ((*all)->shape().multiprocessors, 132);
  EXPECT_FALSE((*all)->blas().ok());
  EXPECT_TRUE(device_->blas().ok());
  EXPECT_EQ(cudaFree(held), cudaSuccess);
}

// --- What it makes ------------------------------------------------------------------------------

TEST_F(CudaDeviceTest, LaysOutWeightsOfEveryFormat) {
  for (const WeightFormat format : kEveryFormat) {
    SCOPED_TRACE(WeightFormatName(format));
    const absl::StatusOr<Weight> weight = MakeWeight(format);

    ASSERT_THAT(weight, IsOk());
    EXPECT_EQ(weight->format, format);
    EXPECT_EQ(weight->outputs, 24);
    EXPECT_EQ(weight->inputs, 40);
    ExpectPacked(WeightLayout(format, 40), 24, weight->elements, weight->scales);
    EXPECT_EQ(FloatsIn(weight->bias), Waves(24));
  }
}

TEST_F(CudaDeviceTest, KeepsABiasOfBf16BesideWeightsOfBf16) {
  const std::vector<float> bias = Waves(24);
  for (const WeightFormat format : kEveryFormat) {
    const absl::StatusOr<Weight> weight = MakeWeight(format);
    ASSERT_THAT(weight, IsOk());
    if (format != WeightFormat::kBf16) {
      EXPECT_EQ(weight->bias_bf16.bytes(), 0);
      continue;
    }
    ASSERT_EQ(weight->bias_bf16.bytes(), 48);
    for (std::size_t i = 0; i < bias.size(); ++i)
      EXPECT_EQ(weight->bias_bf16.as<std::uint16_t>()[i], tensor::Bf16FromFloat(bias[i]));
  }
}

TEST_F(CudaDeviceTest, MakesWeightsWithoutABias) {
  const absl::StatusOr<Weight> weight =
      device_->MakeWeight(WavesSource(24, 40), {}, WeightFormat::kBf16);

  ASSERT_THAT(weight, IsOk());
  EXPECT_EQ(weight->bias.bytes(), 0);
  EXPECT_EQ(weight->bias_bf16.bytes(), 0);
  EXPECT_EQ(Taken(), 24 * 80);
}

TEST_F(CudaDeviceTest, TakesWeightsOfWholePiecesOfInputsOnly) {
  for (const std::int64_t inputs : {1, 7, 12, 20}) {
    EXPECT_THAT(device_->MakeWeight(FailingSource(3, inputs), {}, WeightFormat::kF32),
                StatusIs(absl::StatusCode::kInvalidArgument, "inputs must be a multiple of 8"));
  }
}

TEST_F(CudaDeviceTest, LaysOutEmbeddingsOfEveryFormat) {
  for (const WeightFormat format : kEveryFormat) {
    SCOPED_TRACE(WeightFormatName(format));
    const absl::StatusOr<Embedding> embedding = device_->MakeEmbedding(WavesSource(21, 7), format);

    ASSERT_THAT(embedding, IsOk());
    EXPECT_EQ(embedding->format, format == WeightFormat::kInt4 ? WeightFormat::kInt8 : format);
    EXPECT_EQ(embedding->rows, 21);
    EXPECT_EQ(embedding->columns, 7);
    ExpectPacked(EmbeddingLayout(format, 7), 21, embedding->elements, embedding->scales);
  }
}

TEST_F(CudaDeviceTest, GivesANormWithoutABiasZeros) {
  const absl::StatusOr<Norm> with = device_->MakeNorm(Waves(5), Waves(5), 1e-5F);
  const absl::StatusOr<Norm> without = device_->MakeNorm(Waves(5), {}, 1e-6F);

  ASSERT_THAT(with, IsOk());
  ASSERT_THAT(without, IsOk());
  EXPECT_EQ(with->columns, 5);
  EXPECT_EQ(with->epsilon, 1e-5F);
  EXPECT_EQ(FloatsIn(with->gain), Waves(5));
  EXPECT_EQ(FloatsIn(with->bias), Waves(5));
  EXPECT_EQ(FloatsIn(without->gain), Waves(5));
  EXPECT_EQ(FloatsIn(without->bias), std::vector<float>(5));
}

TEST_F(CudaDeviceTest, GivesTensorsRoomForABucketOfRows) {
  const absl::StatusOr<Tensor> sums = device_->MakeTensor(9, 10);
  EXPECT_EQ(Taken(), 16 * 10 * 4);
  const absl::StatusOr<Tensor> factors = device_->MakeTensor(3, 10, Holds::kFactors);
  EXPECT_EQ(Taken(), 16 * 10 * 4 + 4 * 10 * 2);
  const absl::StatusOr<Tensor> none = device_->MakeTensor(0, 10);

  ASSERT_THAT(sums, IsOk());
  ASSERT_THAT(factors, IsOk());
  ASSERT_THAT(none, IsOk());
  EXPECT_EQ(sums->holds(), Holds::kSums);
  EXPECT_EQ(sums->columns(), 10);
  EXPECT_EQ(sums->rows(), 0);
  EXPECT_EQ(factors->holds(), Holds::kFactors);
}

TEST_F(CudaDeviceTest, MakesLayersOfKeysAndValues) {
  const absl::StatusOr<KvLayer> kv = device_->MakeKvLayer(3, kSomeHeads);

  ASSERT_THAT(kv, IsOk());
  EXPECT_EQ(kv->pages, 3);
  EXPECT_EQ(kv->heads.dim, 24);
  EXPECT_EQ(kv->keys.bytes(), 3 * 16 * 2 * 24 * 2);
  EXPECT_EQ(kv->values.bytes(), kv->keys.bytes());
  EXPECT_EQ(kv->turns->positions, 48);
  std::vector<float> turns(48 * 8);
  for (int pair = 0; pair < 4; ++pair) backend::FillTurns(kSomeHeads, 48, pair, turns.data());
  EXPECT_EQ(FloatsIn(kv->turns->table), turns);
}

TEST_F(CudaDeviceTest, TakesHeadsThatItsKernelsTakeOnly) {
  EXPECT_THAT(device_->MakeKvLayer(1, {.count = 1, .dim = 256}), IsOk());

  EXPECT_THAT(
      device_->MakeKvLayer(1, {.count = 1, .dim = 264}),
      StatusIs(absl::StatusCode::kInvalidArgument, "heads of 264 elements: at most 256 on a GPU"));
}

// --- Tables of turns ----------------------------------------------------------------------------

TEST_F(CudaDeviceTest, LayersThatTurnAlikeShareATable) {
  const absl::StatusOr<KvLayer> first = device_->MakeKvLayer(3, kSomeHeads);
  const absl::StatusOr<KvLayer> same = device_->MakeKvLayer(3, kSomeHeads);
  const absl::StatusOr<KvLayer> shorter =
      device_->MakeKvLayer(2, {.count = 7, .dim = 8, .rotary_dim = 8});

  ASSERT_THAT(shorter, IsOk());
  EXPECT_EQ(first->turns, same->turns);
  EXPECT_EQ(first->turns, shorter->turns);
}

TEST_F(CudaDeviceTest, LayersThatTurnOtherwiseHaveATableOfTheirOwn) {
  for (const backend::Heads& other :
       {backend::Heads{.count = 2, .dim = 24, .rotary_dim = 16},
        backend::Heads{.count = 2, .dim = 24, .rotary_dim = 8, .rotary_base = 5e5F},
        backend::Heads{.count = 2,
        .dim = 24,
        .rotary_dim = 8,
        .rotary_pairs = backend::RotaryPairs::kHalves}}) {
    const absl::StatusOr<KvLayer> first = device_->MakeKvLayer(3, kSomeHeads);
    const absl::StatusOr<KvLayer> kv = device_->MakeKvLayer(3, other);

    ASSERT_THAT(kv, IsOk());
    EXPECT_NE(first->turns, kv->turns);
    std::vector<float> turns(static_cast<std::size_t>(48 * other.rotary_dim));
    for (int pair = 0; pair < other.rotary_dim / 2; ++pair)
      backend::FillTurns(other, 48, pair, turns.data());
    EXPECT_EQ(FloatsIn(kv->turns->table), turns);
  }
}

TEST_F(CudaDeviceTest, LayersOfMorePagesHaveALongerTable) {
  const absl::StatusOr<KvLayer> first = device_->MakeKvLayer(3, kSomeHeads);
  const absl::StatusOr<KvLayer> longer = device_->MakeKvLayer(4, kSomeHeads);
  const absl::StatusOr<KvLayer> again = device_->MakeKvLayer(4, kSomeHeads);

  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(first->turns->positions, 48);
  EXPECT_EQ(longer->turns->positions, 64);
  EXPECT_EQ(longer->turns, again->turns);
}

TEST_F(CudaDeviceTest, ATableGoesWithTheLastOfItsLayers) {
  std::optional<absl::StatusOr<KvLayer>> first = device_->MakeKvLayer(3, kSomeHeads);
  std::optional<absl::StatusOr<KvLayer>> second = device_->MakeKvLayer(3, kSomeHeads);
  const std::int64_t table = 48 * 8 * 4;
  const std::int64_t layer = 2 * 3 * 16 * 2 * 24 * 2;
  EXPECT_EQ(Taken(), 2 * layer + table);

  first.reset();
  EXPECT_EQ(Taken(), layer + table);
  second.reset();
  EXPECT_EQ(Taken(), 0);

  EXPECT_THAT(device_->MakeKvLayer(3, kSomeHeads), IsOk());
}

// --- Memory -------------------------------------------------------------------------------------

TEST_F(CudaDeviceTest, AWeightThatDoesNotFitLeavesNothing) {
  ExpectNeeds({24 * 80, 24 * 4, 24 * 2}, [&] { return MakeWeight(WeightFormat::kBf16); });
  ExpectNeeds({24 * 48, 24 * 4, 24 * 4}, [&] { return MakeWeight(WeightFormat::kInt8); });
}

TEST_F(CudaDeviceTest, AnEmbeddingThatDoesNotFitLeavesNothing) {
  ExpectNeeds({21 * 7, 21 * 4},
              [&] { return device_->MakeEmbedding(WavesSource(21, 7), WeightFormat::kInt8); });
}

TEST_F(CudaDeviceTest, ATensorThatDoesNotFitLeavesNothing) {
  ExpectNeeds({16 * 10 * 4}, [&] { return device_->MakeTensor(9, 10); });
}

TEST_F(CudaDeviceTest, ANormThatDoesNotFitLeavesNothing) {
  ExpectNeeds({20, 20}, [&] { return device_->MakeNorm(Waves(5), {}, 0); });
}

TEST_F(CudaDeviceTest, ALayerThatDoesNotFitLeavesNothing) {
  const std::int64_t half = 3 * 16 * 2 * 24 * 2;
  ExpectNeeds({half, half, 48 * 8 * 4}, [&] { return device_->MakeKvLayer(3, kSomeHeads); });
}

TEST_F(CudaDeviceTest, MemoryThatAnotherProgramTookIsMissedWithoutLeaks) {
  simt::Inject({.call = simt::Call::kAllocate, .nth = 2, .error = cudaErrorMemoryAllocation});

  EXPECT_THAT(MakeWeight(WeightFormat::kInt8),
              StatusIs(absl::StatusCode::kResourceExhausted, "allocating 96 bytes"));

  ExpectAllReturned();
}

TEST_F(CudaDeviceTest, ASourceThatFailsLeavesNothing) {
  EXPECT_THAT(device_->MakeWeight(FailingSource(24, 40), Waves(24), WeightFormat::kBf16),
              StatusIs(absl::StatusCode::kDataLoss, "unreadable"));
  EXPECT_THAT(device_->MakeEmbedding(FailingSource(24, 40), WeightFormat::kInt8),
              StatusIs(absl::StatusCode::kDataLoss, "unreadable"));

  ExpectAllReturned();
}

TEST_F(CudaDeviceTest, AnyCallMayFailWithoutLeaks) {
  const auto make_all = [&]() -> absl::Status {
    CODEGEN_ASSIGN_OR_RETURN(const Weight weight, MakeWeight(WeightFormat::kBf16));
    CODEGEN_ASSIGN_OR_RETURN(const KvLayer kv, device_->MakeKvLayer(1, kSomeHeads));
    CODEGEN_ASSIGN_OR_RETURN(const Norm norm, device_->MakeNorm(Waves(5), {}, 0));
    CODEGEN_ASSIGN_OR_RETURN(Tensor tensor, device_->MakeTensor(2, 4));
    tensor.SetRows(2);
    CODEGEN_RETURN_IF_ERROR(device_->Upload(Waves(8), tensor));
    std::vector<float> out(8);
    return device_->Download(tensor, out);
  };
  for (int nth = 1;; ++nth) {
    ASSERT_LT(nth, 1000);
    simt::Inject({.nth = nth, .error = cudaErrorInvalidConfiguration});
    const absl::Status status = make_all();
    ExpectAllReturned();
    if (simt::HasPendingFaults()) {
      EXPECT_THAT(status, IsOk());
      break;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInternal, "cudaErrorInvalidConfiguration"))
        << nth;
  }
}

TEST_F(CudaDeviceTest, ALostDeviceIsUnavailable) {
  absl::StatusOr<Tensor> tensor = device_->MakeTensor(1, 1);
  ASSERT_THAT(tensor, IsOk());
  simt::Inject({.call = simt::Call::kSynchronize,
                .error = cudaErrorIllegalAddress,
                .lasting = simt::Lasting::kSticky});

  EXPECT_THAT(MakeWeight(WeightFormat::kF32), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(device_->MakeTensor(1, 1), StatusIs(absl::StatusCode::kUnavailable));
  tensor->SetRows(1);
  EXPECT_THAT(device_->Upload(Waves(1), *tensor), StatusIs(absl::StatusCode::kUnavailable));

  *tensor = Tensor();
  EXPECT_EQ(Taken(), 0);
}

// --- Upload and Download ------------------------------------------------------------------------

TEST_F(CudaDeviceTest, BringsSumsThereAndBackToTheBit) {
  absl::StatusOr<Tensor> tensor = device_->MakeTensor(9, 3);
  ASSERT_THAT(tensor, IsOk());
  for (const std::int64_t rows : {9, 2, 0}) {
    std::vector<float> floats = Waves(rows * 3);
    if (rows > 0) {
      floats[0] = -0.0F;
      floats[1] = std::numeric_limits<float>::denorm_min();
      floats[2] = std::bit_cast<float>(0x7FC12345U);
    }
    std::vector<float> out(floats.size());
    tensor->SetRows(rows);

    ASSERT_THAT(device_->Upload(floats, *tensor), IsOk());
    ASSERT_THAT(device_->Download(*tensor, out), IsOk());

    for (std::size_t i = 0; i < floats.size(); ++i)
      EXPECT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(floats[i])) << i;
  }
}

TEST_F(CudaDeviceTest, RoundsFactorsToBf16) {
  absl::StatusOr<Tensor> tensor = device_->MakeTensor(9, 3, Holds::kFactors);
  ASSERT_THAT(tensor, IsOk());
  tensor->SetRows(5);
  std::vector<float> floats = Waves(15);
  floats[0] = 1 + 0x1p-8F;  // ties, to even
  floats[1] = 1 + 3 * 0x1p-8F;
  std::vector<float> out(15);

  ASSERT_THAT(device_->Upload(floats, *tensor), IsOk());
  ASSERT_THAT(device_->Download(*tensor, out), IsOk());

  EXPECT_EQ(out[0], 1);
  EXPECT_EQ(out[1], 1 + 0x1p-6F);
  for (std::size_t i = 0; i < floats.size(); ++i) {
    EXPECT_EQ(out[i], tensor::FloatFromBf16(tensor::Bf16FromFloat(floats[i]))) << i;
    EXPECT_EQ(tensor->as<std::uint16_t>()[i], tensor::Bf16FromFloat(floats[i])) << i;
  }
}

// --- Several devices, several threads -----------------------------------------------------------

TEST_F(CudaDeviceTest, LeavesTheCallersDeviceAndUsesItsOwn) {
  Make({.device = 1}, {.devices = 2});
  const auto expect_first = [](const absl::Status& status) {
    EXPECT_THAT(status, IsOk());
    int current = -1;
    EXPECT_EQ(cudaGetDevice(&current), cudaSuccess);
    EXPECT_EQ(current, 0);
  };
  {
    const absl::StatusOr<Weight> weight = MakeWeight(WeightFormat::kBf16);
    expect_first(weight.status());
    const auto embedding = device_->MakeEmbedding(WavesSource(2, 8), WeightFormat::kF32);
    expect_first(embedding.status());
    const absl::StatusOr<Norm> norm = device_->MakeNorm(Waves(5), {}, 0);
    expect_first(norm.status());
    const absl::StatusOr<KvLayer> kv = device_->MakeKvLayer(1, kSomeHeads);
    expect_first(kv.status());
    absl::StatusOr<Tensor> tensor = device_->MakeTensor(1, 1);
    expect_first(tensor.status());
    tensor->SetRows(1);
    expect_first(device_->Upload(Waves(1), *tensor));
    std::vector<float> out(1);
    expect_first(device_->Download(*tensor, out));

    std::size_t free = 0;
    std::size_t total = 0;
    ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
    EXPECT_EQ(free, total) << "nothing on the caller's";
    ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
    ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
    EXPECT_EQ(static_cast<std::int64_t>(total - free), Taken());
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  }
}

TEST_F(CudaDeviceTest, LeavesTheCallersDeviceWhenItFails) {
  Make({.device = 1, .memory = 1}, {.devices = 2});

  EXPECT_FALSE(MakeWeight(WeightFormat::kF32).ok());
  EXPECT_FALSE(device_->MakeEmbedding(WavesSource(2, 8), WeightFormat::kF32).ok());
  EXPECT_FALSE(device_->MakeNorm(Waves(5), {}, 0).ok());
  EXPECT_FALSE(device_->MakeKvLayer(1, kSomeHeads).ok());
  EXPECT_FALSE(device_->MakeTensor(1, 1).ok());

  int current = -1;
  EXPECT_EQ(cudaGetDevice(&current), cudaSuccess);
  EXPECT_EQ(current, 0);
}

TEST_F(CudaDeviceTest, ServesSeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 3; ++round) {
        const WeightFormat format = kEveryFormat[i + round];
        const absl::StatusOr<Weight> weight = MakeWeight(format);
        const absl::StatusOr<KvLayer> kv = device_->MakeKvLayer(1 + i, kSomeHeads);
        absl::StatusOr<Tensor> tensor = device_->MakeTensor(8, 8);
        ASSERT_THAT(weight, IsOk());
        ASSERT_THAT(kv, IsOk());
        ASSERT_THAT(tensor, IsOk());
        ExpectPacked(WeightLayout(format, 40), 24, weight->elements, weight->scales);
        EXPECT_GE(kv->turns->positions, 16 * (1 + i));
        const std::vector<float> floats(64, static_cast<float>(i));
        std::vector<float> out(64);
        tensor->SetRows(8);
        EXPECT_THAT(device_->Upload(floats, *tensor), IsOk());
        EXPECT_THAT(device_->Download(*tensor, out), IsOk());
        EXPECT_EQ(out, floats);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace codegen::cuda
