// SPDX-License-Identifier: Apache-2.0
//
// The format, from transformers' save_pretrained:
//
//   {"metadata": {"total_size": bytes}, "weight_map": {tensor name: file name, ...}}
//
// total_size is not compared with anything: published indices have it wrong. Names of files have
// been used for path traversal in most readers of this format, so nothing but a plain name is
// accepted, whatever system it would be harmless on.
#include "checkpoint/shard_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "base/quote.h"
#include "codegen/options.h"

namespace codegen::checkpoint {
namespace {

constexpr std::size_t kMaxNameBytes = 255;

bool IsPlainFileName(std::string_view name) {
  const auto plain = [](char c) {
    return static_cast<unsigned char>(c) >= ' ' && c != '/' && c != '\\' && c != ':' && c != '\x7F';
  };
  return !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
         std::ranges::all_of(name, plain);
}

absl::Status Exceeds(const std::string& index, const char* what, int limit) {
  return absl::ResourceExhaustedError(
      fmt::format("{}: more {} than the limit of {}", index, what, limit));
}

}  // namespace

absl::StatusOr<ShardIndex> ReadShardIndex(const std::string& path) {
  CODEGEN_ASSIGN_OR_RETURN(const base::JsonDocument document,
                           base::JsonDocument::Read(path, Limits::shard_index_bytes));
  simdjson::dom::object weight_map;
  if (document.root()["weight_map"].get_object().get(weight_map)) {
    return absl::DataLossError(
        fmt::format("{}: no \"weight_map\", or not an object", document.name()));
  }
  ShardIndex index;
  for (const auto& [tensor, value] : weight_map) {
    std::string_view file;
    if (value.get_string().get(file)) {
      return absl::DataLossError(fmt::format("{}: tensor {}: expected a file name, found {}",
                                             document.name(), base::Quote(tensor),
                                             base::JsonTypeName(value)));
    }
    if (!IsPlainFileName(file)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: tensor {}: shard name must be a plain file name, found {}",
                      document.name(), base::Quote(tensor), base::Quote(file)));
    }
    index.file_of.emplace(tensor, file);
    index.files.emplace(file);
    if (index.file_of.size() > std::size_t{Limits::tensors})
      return Exceeds(document.name(), "tensors", Limits::tensors);
    if (index.files.size() > std::size_t{Limits::shards})
      return Exceeds(document.name(), "shards", Limits::shards);
  }
  return index;
}

}  // namespace codegen::checkpoint
