// SPDX-License-Identifier: Apache-2.0
//
// What cuBLASLt has to be told of one kind of product, and what it answered.
#ifndef CODEGEN_CUDA_GEMM_PLAN_H_
#define CODEGEN_CUDA_GEMM_PLAN_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda/library.h"

namespace codegen::cuda {

enum class GemmEpilogue {
  kNone,
  kBias,
  kGelu,      // the tanh form of backend::Then::kGelu
  kGeluBias,  // bias first
};

struct GemmShape {
  std::int64_t rows = 0;
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  GemmEpilogue epilogue = GemmEpilogue::kNone;
  cudaDataType_t operand_type = CUDA_R_16BF;  // of x and w
  cudaDataType_t result_type = CUDA_R_16BF;   // of y and bias; sums are float32 in any case

  friend bool operator==(const GemmShape&, const GemmShape&) = default;

  template <class Hash>
  friend Hash AbslHashValue(Hash hash, const GemmShape& shape) {
    return Hash::combine(std::move(hash), shape.rows, shape.outputs, shape.inputs, shape.epilogue,
                         shape.operand_type, shape.result_type);
  }
};

// An owned object of cuBLASLt, and the function that destroys it.
template <class Handle>
using BlasOwned = std::unique_ptr<std::remove_pointer_t<Handle>, cublasStatus_t (*)(Handle)>;

using BlasHandle = BlasOwned<cublasLtHandle_t>;

// For one thread.
class GemmPlan {
 public:
  // Asks for the best algorithms within `workspace_bytes` for exactly `shape`. INVALID_ARGUMENT if
  // there is none.
  static absl::StatusOr<std::unique_ptr<GemmPlan>> Create(const BlasFunctions& blas,
                                                          cublasLtHandle_t handle,
                                                          const GemmShape& shape,
                                                          std::size_t workspace_bytes);

  // Best first, as far as cuBLASLt can tell.
  const std::vector<cublasLtMatmulAlgo_t>& algorithms() const { return algorithms_; }

  // Whether one of them takes the present number of rows; all take those of the shape.
  bool Takes(const cublasLtMatmulAlgo_t& algorithm) const;

  // Makes one of them the plan's.
  void Choose(std::size_t algorithm);
  // The same for one that is equal to `algorithm`. False if none is.
  bool ChooseLike(const cublasLtMatmulAlgo_t& algorithm);

  // Sets the number of rows for what follows. Requires: 1 <= rows <= those of the shape.
  absl::Status SetRows(std::int64_t rows);

  // The plan's algorithm if it takes the present number of rows, else another that does; null where
  // cuBLASLt has to find one itself, each time.
  const cublasLtMatmulAlgo_t* algorithm() const;

  absl::Status SetBias(const void* bias);

  cublasLtMatmulDesc_t product() const { return product_.get(); }
  cublasLtMatrixLayout_t w() const { return w_.get(); }
  cublasLtMatrixLayout_t x() const { return x_.get(); }
  cublasLtMatrixLayout_t y() const { return y_.get(); }
  bool has_bias() const;

 private:
  GemmPlan(const BlasFunctions& blas, cublasLtHandle_t handle, const GemmShape& shape);

  absl::Status DescribeProduct();
  absl::Status DescribeMatrices();
  absl::Status FindAlgorithms(std::size_t workspace_bytes);
  void ChooseForRows();

  const BlasFunctions blas_;
  const cublasLtHandle_t handle_;
  const GemmShape shape_;
  BlasOwned<cublasLtMatmulDesc_t> product_;
  BlasOwned<cublasLtMatrixLayout_t> w_, x_, y_;
  std::vector<cublasLtMatmulAlgo_t> algorithms_;
  std::size_t workspace_bytes_ = 0;

  std::size_t chosen_ = 0;   // of algorithms_
  std::int64_t rows_ = 0;    // the present
  std::size_t present_ = 0;  // of algorithms_, for rows_; their number if none takes it
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_GEMM_PLAN_H_
