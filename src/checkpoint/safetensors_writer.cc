// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <bit>
#include <string_view>

#include "base/check.h"
#include "base/new_file.h"

namespace codegen::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHeaderLengthBytes = 8;

// `text` as a JSON string.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string MetadataJson(const std::map<std::string, std::string>& metadata) {
  std::string json;
  for (const auto& [key, value] : metadata)
    json += fmt::format("{}{}:{}", json.empty() ? "" : ",", Quoted(key), Quoted(value));
  return json;
}

// Padded so that what follows it in the file is aligned.
std::string HeaderJson(const std::map<std::string, std::string>& metadata,
                       std::span<const TensorBytes> tensors) {
  std::string json = fmt::format("{{\"__metadata__\":{{{}}}", MetadataJson(metadata));
  std::size_t begin = 0;
  for (const TensorBytes& tensor : tensors) {
    const std::size_t end = begin + tensor.bytes.size();
    json += fmt::format(",{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        Quoted(tensor.name), tensor::DTypeName(tensor.dtype),
                        fmt::join(tensor.shape, ","), begin, end);
    begin = end;
  }
  json += '}';
  const std::size_t used = kHeaderLengthBytes + json.size();
  return json.append((kAlignment - used % kAlignment) % kAlignment, ' ');
}

}  // namespace

absl::Status WriteSafetensors(const std::string& folder, const std::string& name,
                              const std::map<std::string, std::string>& metadata,
                              std::span<const TensorBytes> tensors) {
  CODEGEN_ASSIGN_OR_RETURN(base::NewFile file, base::NewFile::Create(folder, name));
  const std::string header = HeaderJson(metadata, tensors);
  const std::array<std::uint64_t, 1> length = {header.size()};
  CODEGEN_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(length))));
  CODEGEN_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(header))));
  for (const TensorBytes& tensor : tensors) CODEGEN_RETURN_IF_ERROR(file.Write(tensor.bytes));
  return file.Commit();
}

}  // namespace codegen::checkpoint
