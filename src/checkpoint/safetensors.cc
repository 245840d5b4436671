// SPDX-License-Identifier: Apache-2.0
//
// The format, from github.com/huggingface/safetensors (README, "Format"; safetensors/src/tensor.rs
// holds the checks of the reference reader, all of which are made here):
//
//   u64 N, little-endian | N bytes of JSON, starting with '{', padded with spaces | the buffer
//
//   {"__metadata__": {string: string, ...},
//    name: {"dtype": "F16", "shape": [rows, columns], "data_offsets": [begin, end]}, ...}
//
// Offsets are relative to the buffer. Sorted by offset the tensors tile the buffer exactly, and the
// buffer ends with the file: a hole could hide bytes that another reader sees, an overlap could
// make a small file claim many large tensors. Nothing is aligned. What the file says is compared
// with the size that the file has before anything is allocated for it.
#include "checkpoint/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/json.h"
#include "base/quote.h"
#include "checkpoint/little_endian.h"
#include "codegen/options.h"

namespace codegen::checkpoint {
namespace {

using simdjson::dom::element;
using tensor::DType;

constexpr std::int64_t kLengthBytes = 8;

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

std::optional<DType> DTypeOf(std::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16, DType::kF64, DType::kI64,
                            DType::kI32, DType::kI16, DType::kI8, DType::kU8, DType::kBool}) {
    if (name == tensor::DTypeName(dtype)) return dtype;
  }
  return std::nullopt;
}

// Reads the header of one file: what the functions below share is the file for their messages.
class Header {
 public:
  Header(std::shared_ptr<const base::File> file, std::int64_t header_bytes)
      : file_(std::move(file)),
        buffer_start_(kLengthBytes + header_bytes),
        buffer_bytes_(file_->size() - buffer_start_) {}

  absl::StatusOr<Safetensors> Read(simdjson::dom::object header) const;

 private:
  absl::Status ReadMetadata(element value, Safetensors& out) const;
  absl::StatusOr<TensorEntry> Tensor(std::string_view name, element value) const;
  absl::StatusOr<DType> ReadDType(std::string_view name, simdjson::dom::object fields) const;
  absl::StatusOr<std::vector<std::int64_t>> ReadSizes(std::string_view name, const char* key,
                                                      simdjson::dom::object fields) const;
  absl::StatusOr<Range> ReadRange(std::string_view name, simdjson::dom::object fields) const;
  absl::Status CheckTiling(const std::vector<TensorEntry>& tensors) const;
  absl::Status Malformed(std::string_view name, const std::string& what) const;

  std::shared_ptr<const base::File> file_;
  std::int64_t buffer_start_;
  std::int64_t buffer_bytes_;
};

absl::Status Header::Malformed(std::string_view name, const std::string& what) const {
  return absl::DataLossError(
      fmt::format("{}: tensor {}: {}", file_->name(), base::Quote(name), what));
}

absl::Status Header::ReadMetadata(element value, Safetensors& out) const {
  simdjson::dom::object metadata;
  if (value.get_object().get(metadata)) {
    return absl::DataLossError(fmt::format("{}: __metadata__: expected an object, found {}",
                                           file_->name(), base::JsonTypeName(value)));
  }
  for (const auto& [key, item] : metadata) {
    std::string_view text;
    if (item.get_string().get(text)) {
      return absl::DataLossError(fmt::format("{}: __metadata__ {}: expected a string, found {}",
                                             file_->name(), base::Quote(key),
                                             base::JsonTypeName(item)));
    }
    out.metadata.emplace(key, text);
  }
  return absl::OkStatus();
}

absl::StatusOr<DType> Header::ReadDType(std::string_view name, simdjson::dom::object fields) const {
  std::string_view dtype_name;
  if (fields["dtype"].get_string().get(dtype_name))
    return Malformed(name, "no \"dtype\", or not a string");
  if (const std::optional<DType> dtype = DTypeOf(dtype_name)) return *dtype;
  return absl::UnimplementedError(
      fmt::format("{}: tensor {}: dtype {}, expected F32, F16 or BF16 (or F64, I64, I32, I16, I8, "
                  "U8, BOOL for buffers)",
                  file_->name(), base::Quote(name), base::Quote(dtype_name)));
}

// Reads an array of integers in [0, 2^63).
absl::StatusOr<std::vector<std::int64_t>> Header::ReadSizes(std::string_view name, const char* key,
                                                            simdjson::dom::object fields) const {
  simdjson::dom::array array;
  if (fields[key].get_array().get(array))
    return Malformed(name, fmt::format("no \"{}\", or not an array", key));
  if (array.size() > std::size_t{Limits::tensor_rank}) {
    return absl::ResourceExhaustedError(fmt::format("{}: tensor {}: \"{}\" of {} numbers, limit {}",
                                                    file_->name(), base::Quote(name), key,
                                                    array.size(), Limits::tensor_rank));
  }
  std::vector<std::int64_t> sizes;
  for (const element item : array) {
    std::int64_t size = 0;
    if (item.get_int64().get(size) || size < 0) {
      return Malformed(name, fmt::format("\"{}\"[{}]: expected an integer in [0, 2^63), found {}",
                                         key, sizes.size(), simdjson::minify(item)));
    }
    sizes.push_back(size);
  }
  return sizes;
}

absl::StatusOr<Range> Header::ReadRange(std::string_view name, simdjson::dom::object fields) const {
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<std::int64_t> offsets,
                           ReadSizes(name, "data_offsets", fields));
  if (offsets.size() != 2)
    return Malformed(name,
                     fmt::format("\"data_offsets\" of {} numbers, expected 2", offsets.size()));
  const Range range = {.begin = offsets[0], .end = offsets[1]};
  if (range.begin > range.end)
    return Malformed(name, fmt::format("begins at {} and ends at {}", range.begin, range.end));
  if (range.end > buffer_bytes_) {
    return Malformed(name, fmt::format("ends at byte {} of a buffer of {} (truncated file?)",
                                       range.end, buffer_bytes_));
  }
  return range;
}

absl::StatusOr<TensorEntry> Header::Tensor(std::string_view name, element value) const {
  simdjson::dom::object fields;
  if (value.get_object().get(fields)) {
    return Malformed(name, fmt::format("expected an object, found {}", base::JsonTypeName(value)));
  }
  TensorEntry entry = {.name = std::string(name), .file = file_};
  CODEGEN_ASSIGN_OR_RETURN(entry.dtype, ReadDType(name, fields));
  CODEGEN_ASSIGN_OR_RETURN(entry.shape, ReadSizes(name, "shape", fields));
  CODEGEN_ASSIGN_OR_RETURN(const Range range, ReadRange(name, fields));

  const std::optional<std::int64_t> elements = CheckedElements(entry.shape);
  const std::optional<std::int64_t> bytes =
      elements ? base::CheckedMul(*elements, tensor::ItemBytes(entry.dtype)) : std::nullopt;
  if (bytes != range.end - range.begin) {
    return Malformed(name, fmt::format("shape {} {}: expected {} bytes, found {}",
                                       ShapeText(entry.shape), tensor::DTypeName(entry.dtype),
                                       bytes ? fmt::to_string(*bytes) : "2^63 or more",
                                       range.end - range.begin));
  }
  entry.strides = RowMajorStrides(entry.shape);
  entry.file_offset = buffer_start_ + range.begin;
  return entry;
}

// Requires: `tensors` is sorted by begin, then end.
absl::Status Header::CheckTiling(const std::vector<TensorEntry>& tensors) const {
  std::int64_t expected = buffer_start_;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.file_offset != expected) {
      return Malformed(
          tensor.name,
          fmt::format("begins at byte {} of the file, {} the bytes before it, which "
                      "end at {}",
                      tensor.file_offset,
                      tensor.file_offset < expected ? "overlapping" : "apart from", expected));
    }
    expected += tensor.bytes();
  }
  if (expected == file_->size()) return absl::OkStatus();
  return absl::DataLossError(fmt::format("{}: {} bytes after the last tensor, expected none",
                                         file_->name(), file_->size() - expected));
}

absl::StatusOr<Safetensors> Header::Read(simdjson::dom::object header) const {
  Safetensors out;
  for (const auto& [name, value] : header) {
    if (name == "__metadata__") {
      CODEGEN_RETURN_IF_ERROR(ReadMetadata(value, out));
      continue;
    }
    if (out.tensors.size() == std::size_t{Limits::tensors}) {
      return absl::ResourceExhaustedError(
          fmt::format("{}: more tensors than the limit of {}", file_->name(), Limits::tensors));
    }
    CODEGEN_ASSIGN_OR_RETURN(out.tensors.emplace_back(), Tensor(name, value));
  }
  std::ranges::sort(out.tensors, [](const TensorEntry& a, const TensorEntry& b) {
    return std::tuple(a.file_offset, a.bytes()) < std::tuple(b.file_offset, b.bytes());
  });
  CODEGEN_RETURN_IF_ERROR(CheckTiling(out.tensors));
  return out;
}

// Returns N, compared with the size of the file and then with the limit.
absl::StatusOr<std::int64_t> ReadHeaderLength(const base::File& file) {
  CODEGEN_ASSIGN_OR_RETURN(const std::string head,
                           file.ReadString(0, std::min<std::int64_t>(file.size(), 64)));
  if (file.size() < kLengthBytes) {
    return absl::DataLossError(
        fmt::format("{}: {} bytes, expected a safetensors file of at least "
                    "8{}",
                    file.name(), file.size(), base::WhatItLooksLike(head)));
  }
  const std::uint64_t length = LittleEndian<std::uint64_t>(head, 0);
  if (length > static_cast<std::uint64_t>(file.size() - kLengthBytes)) {
    return absl::DataLossError(fmt::format("{}: header of {} bytes in a file of {}{}", file.name(),
                                           length, file.size(), base::WhatItLooksLike(head)));
  }
  if (length > std::uint64_t{Limits::safetensors_header_bytes}) {
    return absl::ResourceExhaustedError(fmt::format("{}: header of {} bytes, limit {}", file.name(),
                                                    length, Limits::safetensors_header_bytes));
  }
  return static_cast<std::int64_t>(length);
}

// JSON allows any white space around the object; the format allows none before it and only spaces
// behind.
absl::Status CheckPadding(std::string_view header, const base::File& file) {
  if (header.starts_with('{') && header[header.find_last_not_of(' ')] == '}')
    return absl::OkStatus();
  return absl::DataLossError(fmt::format("{}: header is not one JSON object padded with spaces{}",
                                         file.name(), base::WhatItLooksLike(header)));
}

}  // namespace

absl::StatusOr<Safetensors> ReadSafetensors(const std::shared_ptr<const base::File>& file) {
  CODEGEN_ASSIGN_OR_RETURN(const std::int64_t length, ReadHeaderLength(*file));
  CODEGEN_ASSIGN_OR_RETURN(const std::string text, file->ReadString(kLengthBytes, length));
  CODEGEN_RETURN_IF_ERROR(CheckPadding(text, *file));
  CODEGEN_ASSIGN_OR_RETURN(const base::JsonDocument document,
                           base::JsonDocument::Parse(text, file->name()));
  return Header(file, length).Read(document.root());
}

absl::StatusOr<std::vector<TensorEntry>> ListSafetensors(
    const std::shared_ptr<const base::File>& file) {
  CODEGEN_ASSIGN_OR_RETURN(Safetensors contents, ReadSafetensors(file));
  return std::move(contents.tensors);
}

}  // namespace codegen::checkpoint
