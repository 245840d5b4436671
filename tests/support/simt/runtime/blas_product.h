// SPDX-License-Identifier: Apache-2.0
//
// The inside of the substitute of cuBLASLt: what its handles point to, which products it accepts,
// and the product itself.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_BLAS_PRODUCT_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_BLAS_PRODUCT_H_

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>

namespace codegen::simt {

// A cublasLtMatmulDesc_t.
struct BlasProduct {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType_t scale = CUDA_R_32F;
  cublasOperation_t transpose_a = CUBLAS_OP_N;
  cublasOperation_t transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};

// A cublasLtMatrixLayout_t: column-major.
struct BlasLayout {
  cudaDataType_t type = CUDA_R_32F;
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::int64_t stride = 0;  // from column to column, in elements
};

// A cublasLtMatmulPreference_t.
struct BlasPreference {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t alignment_a = 256;
  std::uint32_t alignment_b = 256;
  std::uint32_t alignment_c = 256;
  std::uint32_t alignment_d = 256;
};

// d = alpha a b + beta c, by the names of the library.
struct BlasProblem {
  BlasProduct product;
  BlasLayout a, b, c, d;
};

struct BlasOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;
  void* d = nullptr;
  float alpha = 1;
  float beta = 0;
};

// What is inside a cublasLtMatmulAlgo_t.
struct BlasAlgorithm {
  std::uint64_t number = 0;
  std::uint64_t alignment = 0;  // of the operands, as promised when it was chosen
};

inline constexpr std::uint64_t kBlasAlgorithms = 3;

std::size_t BlasBytesOf(cudaDataType_t type);
bool HasBias(const BlasProduct& product);
bool HasGelu(const BlasProduct& product);
std::size_t WorkspaceBytes(const BlasAlgorithm& algorithm);

// Whether the library has such products at all.
cublasStatus_t CheckProblem(const BlasProblem& problem);
// Whether an algorithm takes it. Requires: CheckProblem.
cublasStatus_t CheckAlgorithm(const BlasProblem& problem, const BlasAlgorithm& algorithm);
// Whether these addresses may be used. Requires: CheckProblem.
cublasStatus_t CheckOperands(const BlasProblem& problem, const BlasOperands& operands,
                             const BlasAlgorithm& algorithm);

// Whether all operands lie in memory of the device. To be called when the product runs.
bool LiesOnDevice(const BlasProblem& problem, const BlasOperands& operands);
// Requires: all of the above.
void Multiply(const BlasProblem& problem, const BlasOperands& operands);

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_BLAS_PRODUCT_H_
