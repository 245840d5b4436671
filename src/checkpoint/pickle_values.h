// SPDX-License-Identifier: Apache-2.0
//
// What the pickle matcher has on its stack: small copyable values that refer to tuples, dicts and
// tensors by index, so that no structure a file describes is deep for us and none is freed by
// recursion.
#ifndef CODEGEN_CHECKPOINT_PICKLE_VALUES_H_
#define CODEGEN_CHECKPOINT_PICKLE_VALUES_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/torch_globals.h"
#include "checkpoint/torch_pickle.h"

namespace codegen::checkpoint {

struct PickleValue {
  enum class Kind {
    kNone,
    kBool,
    kInt,
    kFloat,  // its number is of no use
    kText,
    kGlobal,
    kTuple,
    kList,  // its items are of no use
    kDict,
    kStorage,
    kTensor,
  };
  static constexpr std::int64_t kNoContainer = std::numeric_limits<std::int64_t>::max();

  Kind kind = Kind::kNone;
  std::size_t index = 0;    // kTuple, kDict, kStorage, kTensor: in PickleTables
  std::int64_t number = 0;  // kBool, kInt
  std::string_view text;    // kText
  TorchGlobal global;       // kGlobal
  // The birth number of the oldest list or dict that this value is or (a tuple) leads to.
  std::int64_t oldest = kNoContainer;
};

using PickleDict = std::vector<std::pair<PickleValue, PickleValue>>;

struct PickledStorage {
  std::string_view key;
  tensor::DType dtype = tensor::DType::kF32;
  std::int64_t elements = 0;
};

// What values refer to by index.
struct PickleTables {
  std::vector<std::vector<PickleValue>> tuples;
  std::vector<PickleDict> dicts;
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;  // without names
};

// Returns "None", "int", "dict", ...: for messages.
constexpr const char* PickleKindName(PickleValue::Kind kind) {
  constexpr const char* kNames[] = {"None",  "bool", "int",  "float",   "string", "class",
                                    "tuple", "list", "dict", "storage", "tensor"};
  return kNames[static_cast<std::size_t>(kind)];
}

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_PICKLE_VALUES_H_
