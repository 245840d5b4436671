// SPDX-License-Identifier: Apache-2.0
#include "support/simt/runtime/blas_product.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>

#include "support/simt/runtime/streams.h"

namespace codegen::simt {
namespace {

constexpr std::size_t kStrideAlignment = 16;  // in bytes

bool IsElementType(cudaDataType_t type) {
  return type == CUDA_R_16BF || type == CUDA_R_16F || type == CUDA_R_32F;
}

bool IsEpilogue(cublasLtEpilogue_t epilogue) {
  return epilogue == CUBLASLT_EPILOGUE_DEFAULT || epilogue == CUBLASLT_EPILOGUE_BIAS ||
         epilogue == CUBLASLT_EPILOGUE_GELU || epilogue == CUBLASLT_EPILOGUE_GELU_BIAS;
}

bool HoldsColumns(const BlasLayout& layout) {
  return layout.rows > 0 && layout.columns > 0 && layout.stride > 0 &&
         static_cast<std::uint64_t>(layout.stride) >= layout.rows;
}

bool IsAligned(const BlasLayout& layout) {
  return static_cast<std::size_t>(layout.stride) * BlasBytesOf(layout.type) % kStrideAlignment == 0;
}

bool IsAligned(const void* address, std::uint64_t alignment) {
  return reinterpret_cast<std::uintptr_t>(address) % alignment == 0;
}

bool AreSame(const BlasLayout& a, const BlasLayout& b) {
  return a.type == b.type && a.rows == b.rows && a.columns == b.columns && a.stride == b.stride;
}

std::size_t BytesOf(const BlasLayout& layout) {
  const auto stride = static_cast<std::size_t>(layout.stride);
  return ((layout.columns - 1) * stride + layout.rows) * BlasBytesOf(layout.type);
}

float Load(const void* data, std::size_t i, cudaDataType_t type) {
  if (type == CUDA_R_16BF) return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
  if (type == CUDA_R_16F) return __half2float(static_cast<const __half*>(data)[i]);
  return static_cast<const float*>(data)[i];
}

void Store(float value, void* data, std::size_t i, cudaDataType_t type) {
  if (type == CUDA_R_16BF) {
    static_cast<__nv_bfloat16*>(data)[i] = __float2bfloat16(value);
  } else if (type == CUDA_R_16F) {
    static_cast<__half*>(data)[i] = __float2half(value);
  } else {
    static_cast<float*>(data)[i] = value;
  }
}

float Gelu(float v) {
  return 0.5F * v * (1 + std::tanh(0.7978845608F * (v + 0.044715F * v * v * v)));
}

// Row i of a and column j of b, which lie in memory one after the other, as a is transposed.
float Dot(const BlasProblem& problem, const BlasOperands& operands, std::size_t i, std::size_t j) {
  const std::size_t a = i * static_cast<std::size_t>(problem.a.stride);
  const std::size_t b = j * static_cast<std::size_t>(problem.b.stride);
  float sum = 0;
  for (std::size_t k = 0; k < problem.a.rows; ++k)
    sum += Load(operands.a, a + k, problem.a.type) * Load(operands.b, b + k, problem.b.type);
  return sum;
}

float Element(const BlasProblem& problem, const BlasOperands& operands, std::size_t i,
              std::size_t j) {
  const std::size_t c = i + j * static_cast<std::size_t>(problem.c.stride);
  float value = operands.alpha * Dot(problem, operands, i, j);
  if (operands.beta != 0) value += operands.beta * Load(operands.c, c, problem.c.type);
  if (HasBias(problem.product)) value += Load(problem.product.bias, i, problem.d.type);
  return HasGelu(problem.product) ? Gelu(value) : value;
}

}  // namespace

std::size_t BlasBytesOf(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

bool HasBias(const BlasProduct& product) {
  return product.epilogue == CUBLASLT_EPILOGUE_BIAS ||
         product.epilogue == CUBLASLT_EPILOGUE_GELU_BIAS;
}

bool HasGelu(const BlasProduct& product) {
  return product.epilogue == CUBLASLT_EPILOGUE_GELU ||
         product.epilogue == CUBLASLT_EPILOGUE_GELU_BIAS;
}

std::size_t WorkspaceBytes(const BlasAlgorithm& algorithm) {
  return (std::size_t{4} << 20) * algorithm.number;
}

cublasStatus_t CheckProblem(const BlasProblem& problem) {
  const auto& [product, a, b, c, d] = problem;
  for (const BlasLayout& layout : {a, b, c, d})
    if (!HoldsColumns(layout)) return CUBLAS_STATUS_INVALID_VALUE;
  if (product.transpose_a != CUBLAS_OP_T || product.transpose_b != CUBLAS_OP_N)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (a.rows != b.rows || a.columns != d.rows || b.columns != d.columns || !AreSame(c, d))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!IsElementType(a.type) || a.type != b.type || (d.type != a.type && d.type != CUDA_R_32F))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (product.compute != CUBLAS_COMPUTE_32F || product.scale != CUDA_R_32F ||
      !IsEpilogue(product.epilogue))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  for (const BlasLayout& layout : {a, b, c, d})
    if (!IsAligned(layout)) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CheckAlgorithm(const BlasProblem& problem, const BlasAlgorithm& algorithm) {
  if (algorithm.number >= kBlasAlgorithms || algorithm.alignment == 0)
    return CUBLAS_STATUS_INVALID_VALUE;
  const bool takes = algorithm.number != 1 || problem.d.columns % 8 == 0;
  return takes ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t CheckOperands(const BlasProblem& problem, const BlasOperands& operands,
                             const BlasAlgorithm& algorithm) {
  const bool adds = operands.beta != 0;
  if (operands.a == nullptr || operands.b == nullptr || operands.d == nullptr ||
      (adds && operands.c == nullptr) ||
      (HasBias(problem.product) && problem.product.bias == nullptr))
    return CUBLAS_STATUS_INVALID_VALUE;
  for (const void* address : {operands.a, operands.b, adds ? operands.c : operands.d,
                              static_cast<const void*>(operands.d)})
    if (!IsAligned(address, algorithm.alignment)) return CUBLAS_STATUS_INVALID_VALUE;
  return CUBLAS_STATUS_SUCCESS;
}

bool LiesOnDevice(const BlasProblem& problem, const BlasOperands& operands) {
  const std::size_t bias_bytes = problem.d.rows * BlasBytesOf(problem.d.type);
  return IsDeviceMemory(operands.a, BytesOf(problem.a)) &&
         IsDeviceMemory(operands.b, BytesOf(problem.b)) &&
         IsDeviceMemory(operands.d, BytesOf(problem.d)) &&
         (operands.beta == 0 || IsDeviceMemory(operands.c, BytesOf(problem.c))) &&
         (!HasBias(problem.product) || IsDeviceMemory(problem.product.bias, bias_bytes));
}

void Multiply(const BlasProblem& problem, const BlasOperands& operands) {
  for (std::size_t j = 0; j < problem.d.columns; ++j)
    for (std::size_t i = 0; i < problem.d.rows; ++i)
      Store(Element(problem, operands, i, j), operands.d,
            i + j * static_cast<std::size_t>(problem.d.stride), problem.d.type);
}

}  // namespace codegen::simt
