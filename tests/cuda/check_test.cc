// SPDX-License-Identifier: Apache-2.0
#include "cuda/check.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "support/simt/runtime/control.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::StatusIs;

TEST(Check, PassesSuccess) { EXPECT_THAT(Check(cudaSuccess, "resting"), testing::IsOk()); }

TEST(Check, SaysWhatWentWrong) {
  EXPECT_THAT(Check(cudaErrorInvalidValue, "reading the tokens"),
              StatusIs(absl::StatusCode::kInternal,
                       "reading the tokens: invalid argument (cudaErrorInvalidValue)"));
}

TEST(Check, CallsScarcityExhausted) {
  for (const cudaError_t error : {cudaErrorMemoryAllocation, cudaErrorLaunchOutOfResources})
    EXPECT_THAT(Check(error, "x"), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(Check, CallsALostDeviceUnavailable) {
  for (const cudaError_t error :
       {cudaErrorIllegalAddress, cudaErrorLaunchFailure, cudaErrorLaunchTimeout,
        cudaErrorECCUncorrectable, cudaErrorMisalignedAddress, cudaErrorAssert}) {
    EXPECT_THAT(Check(error, "x"), StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_TRUE(IsSticky(error));
  }
  EXPECT_FALSE(IsSticky(cudaErrorInvalidValue));
}

TEST(Check, TellsAMissingDriverFromAnOldOne) {
  simt::Reset({.driver = simt::Driver::kMissing});
  EXPECT_THAT(Check(cudaErrorInsufficientDriver, "x"),
              StatusIs(absl::StatusCode::kFailedPrecondition, "no NVIDIA driver is installed"));

  simt::Reset({.driver = simt::Driver::kTooOld});
  EXPECT_THAT(Check(cudaErrorInsufficientDriver, "x"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "the NVIDIA driver knows CUDA 12.4, this library needs CUDA 13.0"));
  simt::Reset();
}

TEST(Check, SaysThatThereIsNoDevice) {
  EXPECT_THAT(Check(cudaErrorNoDevice, "x"),
              StatusIs(absl::StatusCode::kFailedPrecondition, "CUDA_VISIBLE_DEVICES"));
  EXPECT_THAT(Check(cudaErrorInvalidDevice, "x"),
              StatusIs(absl::StatusCode::kFailedPrecondition, "no GPU of that number"));
}

TEST(Check, LeavesNoErrorBehindForTheHost) {
  simt::Reset();
  const cudaError_t error = cudaStreamDestroy(nullptr);

  EXPECT_THAT(Check(error, "x"), StatusIs(absl::StatusCode::kInternal));

  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace codegen::cuda
