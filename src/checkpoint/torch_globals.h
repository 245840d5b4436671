// SPDX-License-Identifier: Apache-2.0
//
// The names that a pickled state dict may mention. They stay names: each is mapped to an enum
// value, and none is ever imported, looked up or called.
#ifndef CODEGEN_CHECKPOINT_TORCH_GLOBALS_H_
#define CODEGEN_CHECKPOINT_TORCH_GLOBALS_H_

#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace codegen::checkpoint {

struct TorchGlobal {
  enum class Kind { kOrderedDict, kRebuildTensor, kRebuildParameter, kStorage };
  Kind kind = Kind::kOrderedDict;
  tensor::DType dtype = tensor::DType::kF32;  // of kStorage
};

// Returns what `module.name` stands for, or nothing if a state dict has no need of it.
std::optional<TorchGlobal> FindTorchGlobal(std::string_view module, std::string_view name);

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_TORCH_GLOBALS_H_
