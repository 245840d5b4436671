// SPDX-License-Identifier: Apache-2.0
#include "cuda/measure.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/thread_pool.h"
#include "cuda/buffer.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/simt/runtime/streams.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

// Takes a millisecond of the pretend clock and computes nothing: a product as large as those that
// are measured would take minutes here.
cublasStatus_t MultiplyInAMillisecond(cublasLtHandle_t, cublasLtMatmulDesc_t, const void*,
                                      const void*, cublasLtMatrixLayout_t, const void*,
                                      cublasLtMatrixLayout_t, const void*, const void*,
                                      cublasLtMatrixLayout_t, void*, cublasLtMatrixLayout_t,
                                      const cublasLtMatmulAlgo_t*, void*, std::size_t,
                                      cudaStream_t stream) {
  const cudaError_t error = simt::Enqueue(
      stream, [] { simt::SpendDeviceTime(std::chrono::milliseconds(1)); }, "product");
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

BlasFunctions QuickBlas() {
  BlasFunctions blas = simt::PretendBlas();
  blas.Matmul = &MultiplyInAMillisecond;
  return blas;
}

class MeasureDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override { simt::Reset(); }
  void TearDown() override {
    ExpectAllGivenBack();
    device_.reset();
    EXPECT_EQ(simt::Count().live_allocations, 0);
    simt::Reset();
  }

  void Make(const CudaOptions& options, const absl::StatusOr<BlasFunctions>& blas) {
    absl::StatusOr<std::unique_ptr<CudaDevice>> device = CudaDevice::Create(options, blas, *pool_);
    ASSERT_THAT(device, IsOk());
    device_ = *std::move(device);
    before_ = simt::Count();
  }

  void ExpectAllGivenBack() const {
    const simt::Counters now = simt::Count();
    EXPECT_EQ(device_->budget().free_bytes(), device_->budget().bytes());
    EXPECT_EQ(now.live_allocations, before_.live_allocations);
    EXPECT_EQ(now.live_streams, before_.live_streams);
    EXPECT_EQ(now.live_events, before_.live_events);
  }

  std::unique_ptr<base::ThreadPool> pool_ = *base::ThreadPool::Create(1);
  std::unique_ptr<CudaDevice> device_;
  simt::Counters before_;
};

// The side of the matrices whose product takes a millisecond at that speed.
double SideOfProduct(const DeviceSpeed& speed) {
  return std::cbrt(speed.bf16_gflops * 1e9 * 1e-3 / 2);
}

TEST_F(MeasureDeviceTest, MeasuresCopiesAndProducts) {
  Make({.memory = 40 * kMiB}, QuickBlas());

  const absl::StatusOr<DeviceSpeed> speed = MeasureDevice(*device_);

  ASSERT_THAT(speed, IsOk());
  EXPECT_EQ(speed->name, "Pretend NVIDIA H200");
  EXPECT_GT(speed->copy_gb_s, 0);
  EXPECT_TRUE(std::isfinite(speed->copy_gb_s));
  EXPECT_NEAR(SideOfProduct(*speed), 512, 1);
}

TEST_F(MeasureDeviceTest, MultipliesLargerMatricesWithMoreMemory) {
  Make({.memory = 200 * kMiB}, QuickBlas());

  const absl::StatusOr<DeviceSpeed> speed = MeasureDevice(*device_);

  ASSERT_THAT(speed, IsOk());
  EXPECT_NEAR(SideOfProduct(*speed), 2048, 4);
}

TEST_F(MeasureDeviceTest, MeasuresCopiesAloneWithoutCublas) {
  Make({.memory = 40 * kMiB}, absl::FailedPreconditionError("no such library"));

  const absl::StatusOr<DeviceSpeed> speed = MeasureDevice(*device_);

  ASSERT_THAT(speed, IsOk());
  EXPECT_GT(speed->copy_gb_s, 0);
  EXPECT_EQ(speed->bf16_gflops, 0);
}

TEST_F(MeasureDeviceTest, NeedsMemoryForCopiesAndForProducts) {
  Make({.memory = 2 * kMiB - 1}, QuickBlas());
  EXPECT_THAT(MeasureDevice(*device_),
              StatusIs(absl::StatusCode::kResourceExhausted, "1048576 bytes of GPU memory wanted"));
  ExpectAllGivenBack();
  device_.reset();

  Make({.memory = 32 * kMiB}, QuickBlas());
  EXPECT_THAT(MeasureDevice(*device_), StatusIs(absl::StatusCode::kResourceExhausted));
}

// What others hold is not free.
TEST_F(MeasureDeviceTest, NeedsMemoryThatIsFree) {
  Make({.memory = 40 * kMiB}, QuickBlas());
  absl::StatusOr<DeviceBuffer> held = DeviceBuffer::Create(device_->budget(), 8 * kMiB);
  ASSERT_THAT(held, IsOk());

  EXPECT_THAT(MeasureDevice(*device_), StatusIs(absl::StatusCode::kResourceExhausted));

  *held = DeviceBuffer();
}

TEST_F(MeasureDeviceTest, ReportsTheFailureOfACall) {
  Make({.memory = 40 * kMiB}, QuickBlas());
  for (const simt::Call call : {simt::Call::kAllocate, simt::Call::kCopy, simt::Call::kLaunch,
                                simt::Call::kSynchronize, simt::Call::kOther}) {
    for (const int nth : {1, 2, 4}) {
      simt::Inject({.call = call, .nth = nth, .error = cudaErrorUnknown});

      EXPECT_FALSE(MeasureDevice(*device_).ok()) << static_cast<int>(call) << ", " << nth;

      EXPECT_FALSE(simt::HasPendingFaults());
      ExpectAllGivenBack();
    }
  }
}

TEST_F(MeasureDeviceTest, LeavesTheCallersDevice) {
  simt::Reset({.devices = 2});
  Make({.device = 1, .memory = 40 * kMiB}, QuickBlas());

  EXPECT_THAT(MeasureDevice(*device_), IsOk());

  int current = -1;
  EXPECT_EQ(cudaGetDevice(&current), cudaSuccess);
  EXPECT_EQ(current, 0);
}

}  // namespace
}  // namespace codegen::cuda
