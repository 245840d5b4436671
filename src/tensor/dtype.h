// SPDX-License-Identifier: Apache-2.0
//
// Element types of stored tensors.
#ifndef CODEGEN_TENSOR_DTYPE_H_
#define CODEGEN_TENSOR_DTYPE_H_

#include <cstdint>

namespace codegen::tensor {

enum class DType { kF32, kF16, kBf16, kF64, kI64, kI32, kI16, kI8, kU8, kBool };

// Returns the bytes of one element.
constexpr std::int64_t ItemBytes(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBf16:
    case DType::kI16:
      return 2;
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      return 1;
  }
  return 0;
}

// Returns the safetensors name of the type: "F32", "BF16", ...
constexpr const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBf16:
      return "BF16";
    case DType::kF64:
      return "F64";
    case DType::kI64:
      return "I64";
    case DType::kI32:
      return "I32";
    case DType::kI16:
      return "I16";
    case DType::kI8:
      return "I8";
    case DType::kU8:
      return "U8";
    case DType::kBool:
      return "BOOL";
  }
  return "";
}

// Whether weights may be stored in this type.
constexpr bool IsWeightType(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBf16;
}

}  // namespace codegen::tensor

#endif  // CODEGEN_TENSOR_DTYPE_H_
