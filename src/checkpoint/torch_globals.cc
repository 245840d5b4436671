// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/torch_globals.h"

namespace codegen::checkpoint {
namespace {

using enum TorchGlobal::Kind;
using tensor::DType;

struct Named {
  std::string_view module;
  std::string_view name;
  TorchGlobal global;
};

constexpr Named kGlobals[] = {
    {"collections", "OrderedDict", {.kind = kOrderedDict}},
    {"torch._utils", "_rebuild_tensor_v2", {.kind = kRebuildTensor}},
    {"torch._utils", "_rebuild_parameter", {.kind = kRebuildParameter}},
    {"torch", "FloatStorage", {.kind = kStorage, .dtype = DType::kF32}},
    {"torch", "HalfStorage", {.kind = kStorage, .dtype = DType::kF16}},
    {"torch", "BFloat16Storage", {.kind = kStorage, .dtype = DType::kBf16}},
    {"torch", "DoubleStorage", {.kind = kStorage, .dtype = DType::kF64}},
    {"torch", "LongStorage", {.kind = kStorage, .dtype = DType::kI64}},
    {"torch", "IntStorage", {.kind = kStorage, .dtype = DType::kI32}},
    {"torch", "ShortStorage", {.kind = kStorage, .dtype = DType::kI16}},
    {"torch", "CharStorage", {.kind = kStorage, .dtype = DType::kI8}},
    {"torch", "ByteStorage", {.kind = kStorage, .dtype = DType::kU8}},
    {"torch", "BoolStorage", {.kind = kStorage, .dtype = DType::kBool}},
};

}  // namespace

std::optional<TorchGlobal> FindTorchGlobal(std::string_view module, std::string_view name) {
  for (const Named& named : kGlobals) {
    if (named.module == module && named.name == name) return named.global;
  }
  return std::nullopt;
}

}  // namespace codegen::checkpoint
