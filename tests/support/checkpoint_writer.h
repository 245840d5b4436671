// SPDX-License-Identifier: Apache-2.0
//
// Files of weights for tests, in both formats:
//
//   TempFolder folder;
//   folder.Write("model.safetensors", SafetensorsFile({{"w", {.shape = {2, 3}, .values =
//   {...}}}})); folder.Write("pytorch_model.bin", TorchFile({{"w", {.shape = {2, 3}, .values =
//   {...},
//                                                       .layout = Layout::kTransposed}}}));
#ifndef CODEGEN_TESTS_SUPPORT_CHECKPOINT_WRITER_H_
#define CODEGEN_TESTS_SUPPORT_CHECKPOINT_WRITER_H_

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "support/pickle_writer.h"
#include "support/zip_writer.h"
#include "tensor/dtype.h"
#include "tensor/half.h"

namespace codegen::testing {

// How a torch file holds a tensor; safetensors knows only the first.
enum class Layout {
  kPlain,
  kTransposed,  // the matrix is a view of its transpose
  kParameter,   // wrapped as torch.nn.Parameter
};

struct StoredTensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // by rows, whatever the layout
  tensor::DType dtype = tensor::DType::kF32;
  Layout layout = Layout::kPlain;
  // In torch files: the name of the tensor whose storage this one shares; `values` is then of no
  // use.
  std::string shares = {};
};

using StoredTensors = std::map<std::string, StoredTensor>;

inline std::int64_t ElementsOf(const StoredTensor& tensor) {
  std::int64_t elements = 1;
  for (const std::int64_t size : tensor.shape) elements *= size;
  return elements;
}

// Appends `value` rounded to `dtype`.
inline void AppendElement(std::string& out, float value, tensor::DType dtype) {
  switch (dtype) {
    case tensor::DType::kF32:
      return AppendLittle(out, std::bit_cast<std::uint32_t>(value), 4);
    case tensor::DType::kF16:
      return AppendLittle(out, tensor::F16FromFloat(value), 2);
    case tensor::DType::kBf16:
      return AppendLittle(out, tensor::Bf16FromFloat(value), 2);
    default:
      return AppendLittle(out, static_cast<std::uint64_t>(static_cast<std::int64_t>(value)),
                          static_cast<int>(tensor::ItemBytes(dtype)));
  }
}

// Returns the elements by rows, or by columns if the layout is transposed.
inline std::string StorageBytes(const StoredTensor& tensor) {
  std::string bytes;
  if (tensor.layout != Layout::kTransposed) {
    for (const float value : tensor.values) AppendElement(bytes, value, tensor.dtype);
    return bytes;
  }
  const auto rows = static_cast<std::size_t>(tensor.shape[0]);
  const auto columns = static_cast<std::size_t>(tensor.shape[1]);
  for (std::size_t column = 0; column < columns; ++column) {
    for (std::size_t row = 0; row < rows; ++row)
      AppendElement(bytes, tensor.values[row * columns + column], tensor.dtype);
  }
  return bytes;
}

// Returns a safetensors file of this header and buffer, however they fit.
inline std::string SafetensorsBytes(std::string_view header, std::string_view buffer) {
  std::string out;
  AppendLittle(out, header.size(), 8);
  return out.append(header).append(buffer);
}

inline std::string SafetensorsFile(const StoredTensors& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::string buffer;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t begin = buffer.size();
    buffer += StorageBytes(tensor);
    header += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", name,
                          tensor::DTypeName(tensor.dtype), fmt::join(tensor.shape, ","), begin,
                          buffer.size());
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return SafetensorsBytes(header, buffer);
}

inline std::string StorageType(tensor::DType dtype) {
  constexpr const char* kNames[] = {
      "FloatStorage", "HalfStorage",  "BFloat16Storage", "DoubleStorage", "LongStorage",
      "IntStorage",   "ShortStorage", "CharStorage",     "ByteStorage",   "BoolStorage"};
  return kNames[static_cast<std::size_t>(dtype)];
}

// Returns the strides in elements; for kTransposed of a matrix.
inline std::vector<std::int64_t> StridesOf(const StoredTensor& tensor) {
  if (tensor.layout == Layout::kTransposed) return {1, tensor.shape[0]};
  std::vector<std::int64_t> strides(tensor.shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = strides.size(); i-- > 0; stride *= tensor.shape[i]) strides[i] = stride;
  return strides;
}

// Returns the members of a torch archive with this pickle and these storages ("0", "1", ...).
inline std::vector<ZipMember> TorchMembers(std::string_view pickle,
                                           const std::vector<std::string>& storages) {
  std::vector<ZipMember> members = {{.name = "archive/data.pkl", .bytes = std::string(pickle)},
                                    {.name = "archive/byteorder", .bytes = "little"}};
  for (std::size_t i = 0; i < storages.size(); ++i)
    members.push_back({.name = fmt::format("archive/data/{}", i), .bytes = storages[i]});
  members.push_back({.name = "archive/version", .bytes = "3\n"});
  return members;
}

inline std::string TorchFile(const StoredTensors& tensors, const ZipOptions& options = {}) {
  std::map<std::string, std::size_t> key_of;
  std::vector<std::string> storages;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.shares.empty()) continue;
    key_of[name] = storages.size();
    storages.push_back(StorageBytes(tensor));
  }
  PickleWriter pickle;
  pickle.OrderedDict().Put(1).Mark();
  for (const auto& [name, tensor] : tensors) {
    const std::string& owner = tensor.shares.empty() ? name : tensor.shares;
    const PickledView view = {.storage_type = StorageType(tensor.dtype),
                              .key = fmt::to_string(key_of.at(owner)),
                              .elements = ElementsOf(tensors.at(owner)),
                              .offset = 0,
                              .shape = tensor.shape,
                              .strides = StridesOf(tensor)};
    pickle.Text(name);
    if (tensor.layout == Layout::kParameter) {
      pickle.Parameter(view);
    } else {
      pickle.Tensor(view);
    }
  }
  // What Module.state_dict() leaves on its OrderedDict.
  pickle.SetItems().EmptyDict().Text("_metadata").OrderedDict().SetItem().Build().Stop();
  return ZipFile(TorchMembers(pickle.bytes(), storages), options);
}

// Returns an index of these tensor names and file names.
inline std::string ShardIndexFile(const std::map<std::string, std::string>& file_of) {
  std::string entries;
  for (const auto& [name, file] : file_of)
    entries += fmt::format(R"({}"{}":"{}")", entries.empty() ? "" : ",", name, file);
  return fmt::format(R"({{"metadata":{{"total_size":0}},"weight_map":{{{}}}}})", entries);
}

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_CHECKPOINT_WRITER_H_
