// SPDX-License-Identifier: Apache-2.0
//
// Which devices CudaDevice takes, and what it says of the others.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <memory>

#include "base/thread_pool.h"
#include "cuda/cuda_device.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

const absl::Status kNoLibrary = absl::FailedPreconditionError("no such library");

TEST(CudaDevice, NeedsADriverAndADevice) {
  const std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(1);
  const auto create = [&](int device) {
    return CudaDevice::Create({.device = device}, kNoLibrary, *pool).status();
  };

  simt::Reset({.driver = simt::Driver::kMissing});
  EXPECT_THAT(create(0), StatusIs(absl::StatusCode::kFailedPrecondition, "no NVIDIA driver"));
  simt::Reset({.driver = simt::Driver::kTooOld});
  EXPECT_THAT(create(0), StatusIs(absl::StatusCode::kFailedPrecondition, "update the driver"));
  simt::Reset({.driver = simt::Driver::kNoDevice});
  EXPECT_THAT(create(0), StatusIs(absl::StatusCode::kFailedPrecondition, "there is no GPU"));
  simt::Reset({.devices = 2});
  EXPECT_THAT(create(2), StatusIs(absl::StatusCode::kFailedPrecondition, "no GPU of that number"));
  EXPECT_THAT(create(-1), StatusIs(absl::StatusCode::kFailedPrecondition, "no GPU of that number"));
  EXPECT_THAT(create(1), IsOk());
  simt::Reset();
}

TEST(CudaDevice, IsRefusedMoreMemoryThanThereIs) {
  const std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(1);
  simt::Reset({.memory_bytes = 1000});

  EXPECT_THAT(CudaDevice::Create({.memory = 1001}, kNoLibrary, *pool),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "device memory of 1001 bytes asked for, GPU 0 has 1000"));
  EXPECT_THAT(CudaDevice::Create({.memory = 1000}, kNoLibrary, *pool), IsOk());

  EXPECT_EQ(simt::Count().live_allocations, 0);
  simt::Reset();
}

TEST(CudaDevice, IsRefusedWithoutLeaksWhicheverCallFails) {
  const std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(1);
  simt::Reset({.devices = 2});
  int failures = 0;
  for (;; ++failures) {
    simt::Inject({.nth = failures + 1, .error = cudaErrorMemoryAllocation});
    if (CudaDevice::Create({.device = 1}, kNoLibrary, *pool).ok()) break;
    EXPECT_EQ(simt::Count().live_allocations, 0);
    EXPECT_EQ(simt::Count().live_streams, 0);
    EXPECT_EQ(simt::Count().live_events, 0);
    int current = -1;
    EXPECT_EQ(cudaGetDevice(&current), cudaSuccess);
    EXPECT_EQ(current, 0);
  }

  EXPECT_EQ(failures, 11) << "2 to choose a device, memory, 3 of shape, and 5 of the transfer";
  simt::Reset();
}

TEST(CudaDevice, IsRefusedWhereKernelsWereNotBuiltForIt) {
  const std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(1);
  for (const int capability : {70, 75, 86, 89, 100, 120}) {
    simt::Reset({.capability = capability});
    EXPECT_THAT(CudaDevice::Create({}, kNoLibrary, *pool),
                StatusIs(absl::StatusCode::kFailedPrecondition, "compute capability"))
        << capability;
  }
  for (const int capability : {80, 90}) {
    simt::Reset({.capability = capability});
    EXPECT_THAT(CudaDevice::Create({}, kNoLibrary, *pool), IsOk()) << capability;
  }
  simt::Reset();
}

TEST(CudaDevice, KeepsTheReasonWhyALibraryIsNotUsed) {
  const std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(1);
  const auto blas_of = [&](const absl::StatusOr<BlasFunctions>& given) {
    return (*CudaDevice::Create({}, given, *pool))->blas().status();
  };
  simt::Reset();
  EXPECT_THAT(blas_of(simt::PretendBlas()), IsOk());
  EXPECT_EQ(blas_of(kNoLibrary), kNoLibrary);

  simt::Reset({.blas = simt::Library::kUnusable});
  EXPECT_THAT(blas_of(simt::PretendBlas()),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "starting cuBLASLt: CUBLAS_STATUS_NOT_INITIALIZED"));
  simt::Reset();
}

}  // namespace
}  // namespace codegen::cuda
