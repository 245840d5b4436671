// SPDX-License-Identifier: Apache-2.0
#include "support/simt/runtime/cublaslt.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>

#include "support/simt/runtime/blas_product.h"
#include "support/simt/runtime/machine.h"
#include "support/simt/runtime/streams.h"

namespace codegen::simt {
namespace {

// Handles are addresses of our own types under the names of the library.
template <class Object, class Handle>
cublasStatus_t MakeBlasObject(Handle* out, const Object& value) {
  *out = reinterpret_cast<Handle>(std::make_unique<Object>(value).release());
  return CUBLAS_STATUS_SUCCESS;
}

template <class Object, class Handle>
Object& BlasObject(Handle handle) {
  return *reinterpret_cast<Object*>(handle);
}

template <class Object, class Handle>
cublasStatus_t DestroyBlasObject(Handle handle) {
  const std::unique_ptr<Object> owned(reinterpret_cast<Object*>(handle));
  return CUBLAS_STATUS_SUCCESS;
}

template <class Value>
cublasStatus_t SetAttribute(Value& out, const void* value, std::size_t bytes) {
  if (value == nullptr || bytes != sizeof out) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&out, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

struct BlasContext {};

BlasProblem ProblemOf(cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                      cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                      cublasLtMatrixLayout_t d) {
  return {.product = BlasObject<BlasProduct>(product),
          .a = BlasObject<BlasLayout>(a),
          .b = BlasObject<BlasLayout>(b),
          .c = BlasObject<BlasLayout>(c),
          .d = BlasObject<BlasLayout>(d)};
}

cublasLtMatmulAlgo_t Pack(const BlasAlgorithm& algorithm) {
  return {.data = {algorithm.number, algorithm.alignment}};
}

BlasAlgorithm Unpack(const cublasLtMatmulAlgo_t& algorithm) {
  return {.number = algorithm.data[0], .alignment = algorithm.data[1]};
}

cublasStatus_t Create(cublasLtHandle_t* out) {
  const cudaError_t error = Api(Call::kOther, Capturing::kForbids, [](MachineLock& machine) {
    return machine->settings.blas == Library::kUnusable ? cudaErrorNotSupported : cudaSuccess;
  });
  if (error != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  return MakeBlasObject(out, BlasContext{});
}

std::size_t Version() { return 130100; }

const char* StatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "another cublasStatus_t";
  }
}

cublasStatus_t MakeProduct(cublasLtMatmulDesc_t* out, cublasComputeType_t compute,
                           cudaDataType_t scale) {
  return MakeBlasObject(out, BlasProduct{.compute = compute, .scale = scale});
}

cublasStatus_t SetProduct(cublasLtMatmulDesc_t handle, cublasLtMatmulDescAttributes_t attribute,
                          const void* value, std::size_t bytes) {
  auto& product = BlasObject<BlasProduct>(handle);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return SetAttribute(product.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return SetAttribute(product.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return SetAttribute(product.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return SetAttribute(product.bias, value, bytes);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t MakeLayout(cublasLtMatrixLayout_t* out, cudaDataType type, std::uint64_t rows,
                          std::uint64_t columns, std::int64_t stride) {
  return MakeBlasObject(
      out, BlasLayout{.type = type, .rows = rows, .columns = columns, .stride = stride});
}

cublasStatus_t SetLayout(cublasLtMatrixLayout_t handle, cublasLtMatrixLayoutAttribute_t attribute,
                         const void* value, std::size_t bytes) {
  auto& layout = BlasObject<BlasLayout>(handle);
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return SetAttribute(layout.rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return SetAttribute(layout.columns, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return SetAttribute(layout.stride, value, bytes);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t MakePreference(cublasLtMatmulPreference_t* out) {
  return MakeBlasObject(out, BlasPreference{});
}

cublasStatus_t SetPreference(cublasLtMatmulPreference_t handle,
                             cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                             std::size_t bytes) {
  auto& preference = BlasObject<BlasPreference>(handle);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return SetAttribute(preference.workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return SetAttribute(preference.alignment_a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return SetAttribute(preference.alignment_b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return SetAttribute(preference.alignment_c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return SetAttribute(preference.alignment_d, value, bytes);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

// Stricter than the library, which keeps the four apart.
std::uint64_t AlignmentOf(const BlasPreference& preference) {
  return std::max({preference.alignment_a, preference.alignment_b, preference.alignment_c,
                   preference.alignment_d});
}

cublasStatus_t FindAlgorithms(cublasLtHandle_t /*context*/, cublasLtMatmulDesc_t product,
                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                              cublasLtMatmulPreference_t preference_handle, int wanted,
                              cublasLtMatmulHeuristicResult_t results[], int* count) {
  ++MachineLock()->counters.heuristics;
  *count = 0;
  if (wanted <= 0) return CUBLAS_STATUS_INVALID_VALUE;
  const BlasProblem problem = ProblemOf(product, a, b, c, d);
  const auto& preference = BlasObject<BlasPreference>(preference_handle);
  if (const cublasStatus_t status = CheckProblem(problem); status != CUBLAS_STATUS_SUCCESS)
    return status;
  for (std::uint64_t number = 0; number < kBlasAlgorithms && *count < wanted; ++number) {
    const BlasAlgorithm algorithm = {.number = number, .alignment = AlignmentOf(preference)};
    if (CheckAlgorithm(problem, algorithm) != CUBLAS_STATUS_SUCCESS ||
        WorkspaceBytes(algorithm) > preference.workspace_bytes)
      continue;
    results[(*count)++] = {.algo = Pack(algorithm),
                           .workspaceSize = WorkspaceBytes(algorithm),
                           .state = CUBLAS_STATUS_SUCCESS,
                           .wavesCount = 1};
  }
  return *count > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t CheckAgain(cublasLtHandle_t /*context*/, cublasLtMatmulDesc_t product,
                          cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                          cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                          const cublasLtMatmulAlgo_t* algorithm,
                          cublasLtMatmulHeuristicResult_t* result) {
  ++MachineLock()->counters.algorithm_checks;
  const BlasProblem problem = ProblemOf(product, a, b, c, d);
  if (const cublasStatus_t status = CheckProblem(problem); status != CUBLAS_STATUS_SUCCESS)
    return status;
  result->workspaceSize = WorkspaceBytes(Unpack(*algorithm));
  return CheckAlgorithm(problem, Unpack(*algorithm));
}

// What the library takes where it has to find an algorithm itself.
BlasAlgorithm AnyAlgorithm() {
  ++MachineLock()->counters.blind_products;
  return {.number = 0, .alignment = 16};
}

cublasStatus_t CheckWorkspace(const BlasAlgorithm& algorithm, const void* workspace,
                              std::size_t bytes) {
  const std::size_t needed = WorkspaceBytes(algorithm);
  if (needed == 0) return CUBLAS_STATUS_SUCCESS;
  const bool aligned = reinterpret_cast<std::uintptr_t>(workspace) % 256 == 0;
  return bytes >= needed && workspace != nullptr && aligned ? CUBLAS_STATUS_SUCCESS
                                                            : CUBLAS_STATUS_INVALID_VALUE;
}

constexpr std::array<std::chrono::microseconds, kBlasAlgorithms> kPretendedTimes = {
    std::chrono::microseconds(30), std::chrono::microseconds(10), std::chrono::microseconds(20)};

void RunProduct(const BlasProblem& problem, const BlasOperands& operands, std::uint64_t number) {
  if (!LiesOnDevice(problem, operands)) return ReportFault(cudaErrorIllegalAddress);
  SpendDeviceTime(kPretendedTimes[number]);
  Multiply(problem, operands);
}

cublasStatus_t Submit(const BlasProblem& problem, const BlasOperands& operands,
                      std::uint64_t number, cudaStream_t stream) {
  const cudaError_t error = Enqueue(
      stream, [=] { RunProduct(problem, operands, number); }, "cublasLtMatmul");
  if (error != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  ++MachineLock()->counters.products_by_algorithm[number];
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t Matmul(cublasLtHandle_t /*context*/, cublasLtMatmulDesc_t product, const void* alpha,
                      const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                      cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                      cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                      const cublasLtMatmulAlgo_t* chosen, void* workspace,
                      std::size_t workspace_bytes, cudaStream_t stream) {
  const BlasProblem problem = ProblemOf(product, a_layout, b_layout, c_layout, d_layout);
  const BlasOperands operands = {.a = a,
                                 .b = b,
                                 .c = c,
                                 .d = d,
                                 .alpha = *static_cast<const float*>(alpha),
                                 .beta = *static_cast<const float*>(beta)};
  cublasStatus_t status = CheckProblem(problem);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const BlasAlgorithm algorithm = chosen == nullptr ? AnyAlgorithm() : Unpack(*chosen);
  status = CheckAlgorithm(problem, algorithm);
  if (status == CUBLAS_STATUS_SUCCESS) status = CheckOperands(problem, operands, algorithm);
  if (status == CUBLAS_STATUS_SUCCESS)
    status = CheckWorkspace(algorithm, workspace, workspace_bytes);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  return Submit(problem, operands, algorithm.number, stream);
}

}  // namespace

cuda::BlasFunctions PretendBlas() {
  return {.Create = Create,
          .Destroy = DestroyBlasObject<BlasContext, cublasLtHandle_t>,
          .GetStatusName = StatusName,
          .GetVersion = Version,
          .MatmulDescCreate = MakeProduct,
          .MatmulDescDestroy = DestroyBlasObject<BlasProduct, cublasLtMatmulDesc_t>,
          .MatmulDescSetAttribute = SetProduct,
          .MatrixLayoutCreate = MakeLayout,
          .MatrixLayoutDestroy = DestroyBlasObject<BlasLayout, cublasLtMatrixLayout_t>,
          .MatrixLayoutSetAttribute = SetLayout,
          .MatmulPreferenceCreate = MakePreference,
          .MatmulPreferenceDestroy = DestroyBlasObject<BlasPreference, cublasLtMatmulPreference_t>,
          .MatmulPreferenceSetAttribute = SetPreference,
          .MatmulAlgoGetHeuristic = FindAlgorithms,
          .MatmulAlgoCheck = CheckAgain,
          .Matmul = Matmul};
}

}  // namespace codegen::simt
