// SPDX-License-Identifier: Apache-2.0
#include "cuda/library.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <string>

#include "base/check.h"
#include "cuda/check.h"

namespace codegen::cuda {
namespace {

std::string LastLoaderError() {
  const char* error = dlerror();
  return error == nullptr ? "unknown error" : error;
}

// Finds functions until one is missing, and keeps the name of that.
class SymbolTable {
 public:
  explicit SymbolTable(void* library) : library_(library) {}

  template <class Function>
  SymbolTable& Find(const char* name, Function*& out) {
    out = reinterpret_cast<Function*>(dlsym(library_, name));
    if (out == nullptr && missing_.empty()) missing_ = name;
    return *this;
  }

  const std::string& missing() const { return missing_; }

 private:
  void* library_;
  std::string missing_;
};

std::string FindFunctions(void* library, BlasFunctions& blas) {
  return SymbolTable(library)
      .Find("cublasLtCreate", blas.Create)
      .Find("cublasLtDestroy", blas.Destroy)
      .Find("cublasLtGetStatusName", blas.GetStatusName)
      .Find("cublasLtGetVersion", blas.GetVersion)
      .Find("cublasLtMatmulDescCreate", blas.MatmulDescCreate)
      .Find("cublasLtMatmulDescDestroy", blas.MatmulDescDestroy)
      .Find("cublasLtMatmulDescSetAttribute", blas.MatmulDescSetAttribute)
      .Find("cublasLtMatrixLayoutCreate", blas.MatrixLayoutCreate)
      .Find("cublasLtMatrixLayoutDestroy", blas.MatrixLayoutDestroy)
      .Find("cublasLtMatrixLayoutSetAttribute", blas.MatrixLayoutSetAttribute)
      .Find("cublasLtMatmulPreferenceCreate", blas.MatmulPreferenceCreate)
      .Find("cublasLtMatmulPreferenceDestroy", blas.MatmulPreferenceDestroy)
      .Find("cublasLtMatmulPreferenceSetAttribute", blas.MatmulPreferenceSetAttribute)
      .Find("cublasLtMatmulAlgoGetHeuristic", blas.MatmulAlgoGetHeuristic)
      .Find("cublasLtMatmulAlgoCheck", blas.MatmulAlgoCheck)
      .Find("cublasLtMatmul", blas.Matmul)
      .missing();
}

absl::StatusCode CodeOfBlas(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_ALLOC_FAILED:
      return absl::StatusCode::kResourceExhausted;
    case CUBLAS_STATUS_NOT_INITIALIZED:
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::StatusOr<BlasFunctions> OpenBlas(const char* name) {
  void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr)
    return absl::FailedPreconditionError(
        fmt::format("cuBLAS cannot be opened: {}; install {} or put it on the path of the loader",
                    LastLoaderError(), kBlasLibrary));
  BlasFunctions blas;
  if (const std::string missing = FindFunctions(library, blas); !missing.empty())
    return absl::FailedPreconditionError(fmt::format("{} has no function {}", name, missing));
  return blas;
}

std::string BlasVersion(const BlasFunctions& blas) {
  const std::size_t version = blas.GetVersion();  // 10000 major + 100 minor + patch
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

absl::Status CheckBlas(const BlasFunctions& blas, cublasStatus_t status, std::string_view what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  // Behind a failed execution is an error of CUDA, which says more.
  if (status == CUBLAS_STATUS_EXECUTION_FAILED)
    CODEGEN_RETURN_IF_ERROR(Check(cudaPeekAtLastError(), what));
  return {CodeOfBlas(status), fmt::format("{}: {}", what, blas.GetStatusName(status))};
}

}  // namespace codegen::cuda
