// SPDX-License-Identifier: Apache-2.0
#include "cuda/gemm_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace codegen::cuda {
namespace {

constexpr int kAlgorithms = 8;            // asked for
constexpr std::uint32_t kAlignment = 16;  // of every operand, in bytes

std::int64_t BytesOf(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

cublasLtEpilogue_t BlasEpilogue(GemmEpilogue epilogue) {
  switch (epilogue) {
    case GemmEpilogue::kNone:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case GemmEpilogue::kBias:
      return CUBLASLT_EPILOGUE_BIAS;
    case GemmEpilogue::kGelu:
      return CUBLASLT_EPILOGUE_GELU;
    case GemmEpilogue::kGeluBias:
      return CUBLASLT_EPILOGUE_GELU_BIAS;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

absl::Status CheckShape(const GemmShape& shape) {
  CODEGEN_DCHECK(shape.rows >= 1 && shape.outputs >= 1 && shape.inputs >= 1);
  const std::int64_t operand_bytes = shape.inputs * BytesOf(shape.operand_type);
  const std::int64_t result_bytes = shape.outputs * BytesOf(shape.result_type);
  if (operand_bytes % kAlignment == 0 && result_bytes % kAlignment == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "product of {} inputs and {} outputs: rows of {} and {} bytes, expected multiples of {}",
      shape.inputs, shape.outputs, operand_bytes, result_bytes, kAlignment));
}

template <class Value>
absl::Status SetPreference(const BlasFunctions& blas, cublasLtMatmulPreference_t preference,
                           cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
  return CheckBlas(blas,
                   blas.MatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
                   "describing the choice of an algorithm");
}

absl::StatusOr<BlasOwned<cublasLtMatmulPreference_t>> MakePreference(const BlasFunctions& blas,
                                                                     std::uint64_t workspace) {
  BlasOwned<cublasLtMatmulPreference_t> owned(nullptr, blas.MatmulPreferenceDestroy);
  cublasLtMatmulPreference_t preference = nullptr;
  CODEGEN_RETURN_IF_ERROR(CheckBlas(blas, blas.MatmulPreferenceCreate(&preference),
                                    "describing the choice of an algorithm"));
  owned.reset(preference);
  CODEGEN_RETURN_IF_ERROR(
      SetPreference(blas, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace));
  for (const auto operand :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    CODEGEN_RETURN_IF_ERROR(SetPreference(blas, preference, operand, kAlignment));
  return owned;
}

// The layout of the transpose of a row-major [rows, columns].
absl::Status MakeLayout(const BlasFunctions& blas, cudaDataType_t type, std::int64_t rows,
                        std::int64_t columns, BlasOwned<cublasLtMatrixLayout_t>& out) {
  cublasLtMatrixLayout_t layout = nullptr;
  CODEGEN_RETURN_IF_ERROR(
      CheckBlas(blas,
                blas.MatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(columns),
                                        static_cast<std::uint64_t>(rows), columns),
                "describing a matrix"));
  out.reset(layout);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<GemmPlan>> GemmPlan::Create(const BlasFunctions& blas,
                                                           cublasLtHandle_t handle,
                                                           const GemmShape& shape,
                                                           std::size_t workspace_bytes) {
  CODEGEN_RETURN_IF_ERROR(CheckShape(shape));
  auto plan = std::unique_ptr<GemmPlan>(new GemmPlan(blas, handle, shape));
  CODEGEN_RETURN_IF_ERROR(plan->DescribeProduct());
  CODEGEN_RETURN_IF_ERROR(plan->DescribeMatrices());
  CODEGEN_RETURN_IF_ERROR(plan->FindAlgorithms(workspace_bytes));
  return plan;
}

GemmPlan::GemmPlan(const BlasFunctions& blas, cublasLtHandle_t handle, const GemmShape& shape)
    : blas_(blas),
      handle_(handle),
      shape_(shape),
      product_(nullptr, blas.MatmulDescDestroy),
      w_(nullptr, blas.MatrixLayoutDestroy),
      x_(nullptr, blas.MatrixLayoutDestroy),
      y_(nullptr, blas.MatrixLayoutDestroy),
      rows_(shape.rows) {}

absl::Status GemmPlan::DescribeProduct() {
  constexpr const char* kWhat = "describing a product";
  cublasLtMatmulDesc_t product = nullptr;
  CODEGEN_RETURN_IF_ERROR(
      CheckBlas(blas_, blas_.MatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F), kWhat));
  product_.reset(product);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  CODEGEN_RETURN_IF_ERROR(
      CheckBlas(blas_,
                blas_.MatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                             sizeof transposed),
                kWhat));
  const cublasLtEpilogue_t epilogue = BlasEpilogue(shape_.epilogue);
  return CheckBlas(blas_,
                   blas_.MatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                                sizeof epilogue),
                   kWhat);
}

absl::Status GemmPlan::DescribeMatrices() {
  const auto& [rows, outputs, inputs, epilogue, operand_type, result_type] = shape_;
  CODEGEN_RETURN_IF_ERROR(MakeLayout(blas_, operand_type, outputs, inputs, w_));
  CODEGEN_RETURN_IF_ERROR(MakeLayout(blas_, operand_type, rows, inputs, x_));
  return MakeLayout(blas_, result_type, rows, outputs, y_);
}

absl::Status GemmPlan::FindAlgorithms(std::size_t workspace_bytes) {
  workspace_bytes_ = workspace_bytes;
  CODEGEN_ASSIGN_OR_RETURN(const auto preference, MakePreference(blas_, workspace_bytes));
  std::array<cublasLtMatmulHeuristicResult_t, kAlgorithms> found = {};
  int count = 0;
  const cublasStatus_t status =
      blas_.MatmulAlgoGetHeuristic(handle_, product_.get(), w_.get(), x_.get(), y_.get(), y_.get(),
                                   preference.get(), kAlgorithms, found.data(), &count);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED)
    CODEGEN_RETURN_IF_ERROR(CheckBlas(blas_, status, "asking for algorithms"));
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
    if (found[i].state == CUBLAS_STATUS_SUCCESS) algorithms_.push_back(found[i].algo);
  if (!algorithms_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("cuBLASLt has no algorithm for a product of {} rows, {} inputs and {} outputs",
                  shape_.rows, shape_.inputs, shape_.outputs));
}

void GemmPlan::Choose(std::size_t algorithm) {
  CODEGEN_DCHECK(algorithm < algorithms_.size());
  chosen_ = algorithm;
  ChooseForRows();
}

bool GemmPlan::ChooseLike(const cublasLtMatmulAlgo_t& algorithm) {
  const auto found = std::ranges::find_if(algorithms_, [&](const cublasLtMatmulAlgo_t& offered) {
    return std::ranges::equal(offered.data, algorithm.data);
  });
  if (found == algorithms_.end()) return false;
  Choose(static_cast<std::size_t>(found - algorithms_.begin()));
  return true;
}

absl::Status GemmPlan::SetRows(std::int64_t rows) {
  CODEGEN_DCHECK(rows >= 1 && rows <= shape_.rows);
  if (rows == rows_) return absl::OkStatus();
  const auto columns = static_cast<std::uint64_t>(rows);  // of the transposes
  for (const cublasLtMatrixLayout_t layout : {x_.get(), y_.get()})
    CODEGEN_RETURN_IF_ERROR(
        CheckBlas(blas_,
                  blas_.MatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_COLS, &columns,
                                                 sizeof columns),
                  "describing a matrix"));
  rows_ = rows;
  ChooseForRows();
  return absl::OkStatus();
}

void GemmPlan::ChooseForRows() {
  present_ = chosen_;
  if (Takes(algorithms_[chosen_])) return;
  present_ = 0;
  while (present_ < algorithms_.size() && !Takes(algorithms_[present_])) ++present_;
}

bool GemmPlan::Takes(const cublasLtMatmulAlgo_t& algorithm) const {
  if (rows_ == shape_.rows) return true;
  cublasLtMatmulHeuristicResult_t result = {};
  const cublasStatus_t status = blas_.MatmulAlgoCheck(handle_, product_.get(), w_.get(), x_.get(),
                                                      y_.get(), y_.get(), &algorithm, &result);
  return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= workspace_bytes_;
}

const cublasLtMatmulAlgo_t* GemmPlan::algorithm() const {
  return present_ < algorithms_.size() ? &algorithms_[present_] : nullptr;
}

bool GemmPlan::has_bias() const {
  return shape_.epilogue == GemmEpilogue::kBias || shape_.epilogue == GemmEpilogue::kGeluBias;
}

absl::Status GemmPlan::SetBias(const void* bias) {
  return CheckBlas(blas_,
                   blas_.MatmulDescSetAttribute(product_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias, sizeof bias),
                   "describing a bias");
}

}  // namespace codegen::cuda
