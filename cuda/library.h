// SPDX-License-Identifier: Apache-2.0
//
// cuBLASLt, opened when it is needed.
//
// The library is 500 MB and only there where somebody installed it, so the program does not link
// it: a table of its functions takes the place of the linker. Tests fill the same table with a
// substitute.
#ifndef CODEGEN_CUDA_LIBRARY_H_
#define CODEGEN_CUDA_LIBRARY_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <cublasLt.h>

#include <string>
#include <string_view>

namespace codegen::cuda {

// The functions of cuBLASLt by their names without the prefix.
struct BlasFunctions {
  decltype(&cublasLtCreate) Create = nullptr;
  decltype(&cublasLtDestroy) Destroy = nullptr;
  decltype(&cublasLtGetStatusName) GetStatusName = nullptr;
  decltype(&cublasLtGetVersion) GetVersion = nullptr;
  decltype(&cublasLtMatmulDescCreate) MatmulDescCreate = nullptr;
  decltype(&cublasLtMatmulDescDestroy) MatmulDescDestroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) MatmulDescSetAttribute = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) MatrixLayoutCreate = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) MatrixLayoutDestroy = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) MatrixLayoutSetAttribute = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) MatmulPreferenceCreate = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) MatmulPreferenceDestroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) MatmulPreferenceSetAttribute = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) MatmulAlgoGetHeuristic = nullptr;
  decltype(&cublasLtMatmulAlgoCheck) MatmulAlgoCheck = nullptr;
  decltype(&cublasLtMatmul) Matmul = nullptr;
};

inline constexpr const char* kBlasLibrary = "libcublasLt.so.13";

// Opens the library, for good: it is not made to be closed. FAILED_PRECONDITION if it is not there
// or lacks a function.
absl::StatusOr<BlasFunctions> OpenBlas(const char* name = kBlasLibrary);

// As "13.1.0".
std::string BlasVersion(const BlasFunctions& blas);

// OK, or what went wrong while doing `what`, with the codes of Check.
absl::Status CheckBlas(const BlasFunctions& blas, cublasStatus_t status, std::string_view what);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_LIBRARY_H_
