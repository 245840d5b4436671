// SPDX-License-Identifier: Apache-2.0
#include "cuda/library.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <string_view>

#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/simt/runtime/streams.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::StatusIs;

TEST(OpenBlas, SaysWhichLibraryIsMissing) {
  EXPECT_THAT(OpenBlas("libnowhere.so.13"),
              StatusIs(absl::StatusCode::kFailedPrecondition, "libnowhere.so.13"));
  EXPECT_THAT(OpenBlas("libnowhere.so.13"),
              StatusIs(absl::StatusCode::kFailedPrecondition, "install libcublasLt.so.13"));
}

TEST(OpenBlas, SaysWhichFunctionIsMissing) {
  EXPECT_THAT(OpenBlas("libc.so.6"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                              "libc.so.6 has no function cublasLtCreate"));
}

TEST(OpenBlas, FindsEveryFunctionOfTheRealLibrary) {
  const absl::StatusOr<BlasFunctions> blas = OpenBlas();
  if (!blas.ok()) GTEST_SKIP() << blas.status();

  EXPECT_EQ(std::string_view(blas->GetStatusName(CUBLAS_STATUS_NOT_SUPPORTED)),
            "CUBLAS_STATUS_NOT_SUPPORTED");
  EXPECT_EQ(BlasVersion(*blas).substr(0, 3), "13.");
}

TEST(BlasVersion, HasThreeNumbers) { EXPECT_EQ(BlasVersion(simt::PretendBlas()), "13.1.0"); }

TEST(CheckBlas, SaysWhatWentWrong) {
  const BlasFunctions blas = simt::PretendBlas();

  EXPECT_THAT(CheckBlas(blas, CUBLAS_STATUS_SUCCESS, "multiplying"), testing::IsOk());
  EXPECT_THAT(CheckBlas(blas, CUBLAS_STATUS_INVALID_VALUE, "multiplying"),
              StatusIs(absl::StatusCode::kInternal, "multiplying: CUBLAS_STATUS_INVALID_VALUE"));
  EXPECT_THAT(CheckBlas(blas, CUBLAS_STATUS_ALLOC_FAILED, "x"),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(CheckBlas(blas, CUBLAS_STATUS_NOT_INITIALIZED, "x"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(CheckBlas, GivesTheErrorBehindAFailedExecution) {
  simt::Reset();
  simt::Inject({.call = simt::Call::kLaunch, .error = cudaErrorLaunchOutOfResources});
  ASSERT_NE(simt::Enqueue(
                nullptr, [] {}, "nothing"),
            cudaSuccess);

  EXPECT_THAT(CheckBlas(simt::PretendBlas(), CUBLAS_STATUS_EXECUTION_FAILED, "multiplying"),
              StatusIs(absl::StatusCode::kResourceExhausted, "cudaErrorLaunchOutOfResources"));

  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace codegen::cuda
