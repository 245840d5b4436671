// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <fmt/format.h>

#include <filesystem>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/quote.h"
#include "codegen/options.h"

namespace codegen::base {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

// Recursion is bounded by Limits::json_depth, which the parser has already enforced.
absl::Status RefuseDuplicateKeys(element value, const std::string& name) {
  simdjson::dom::array array;
  if (value.get(array) == simdjson::SUCCESS) {
    for (const element item : array) CODEGEN_RETURN_IF_ERROR(RefuseDuplicateKeys(item, name));
    return absl::OkStatus();
  }
  simdjson::dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return absl::OkStatus();
  std::unordered_set<std::string_view> seen;
  for (const auto& [key, item] : object) {
    if (!seen.insert(key).second) {
      return absl::DataLossError(fmt::format("{}: key {} appears twice", name, Quote(key)));
    }
    CODEGEN_RETURN_IF_ERROR(RefuseDuplicateKeys(item, name));
  }
  return absl::OkStatus();
}

absl::Status NoMemoryToParse(std::string_view text, const std::string& name) {
  return absl::ResourceExhaustedError(
      fmt::format("{}: no memory to parse {} bytes", name, text.size()));
}

}  // namespace

absl::StatusOr<JsonDocument> JsonDocument::Parse(std::string_view text, const std::string& name) {
  JsonDocument document;
  document.name_ = name;
  document.parser_ = std::make_unique<simdjson::dom::parser>();
  // simdjson counts the document itself as one level.
  if (document.parser_->allocate(text.size(), Limits::json_depth + 1) != simdjson::SUCCESS) {
    return NoMemoryToParse(text, name);
  }
  element root;
  if (const auto error = document.parser_->parse(text.data(), text.size()).get(root); error) {
    if (error == simdjson::MEMALLOC) return NoMemoryToParse(text, name);
    if (error == simdjson::DEPTH_ERROR) {
      return absl::DataLossError(
          fmt::format("{}: JSON nested deeper than {}", name, Limits::json_depth));
    }
    return absl::DataLossError(fmt::format("{}: not valid JSON: {}{}", name,
                                           simdjson::error_message(error), WhatItLooksLike(text)));
  }
  if (root.get_object().get(document.root_)) {
    return absl::DataLossError(
        fmt::format("{}: expected a JSON object, found {}", name, JsonTypeName(root)));
  }
  CODEGEN_RETURN_IF_ERROR(RefuseDuplicateKeys(root, name));
  return document;
}

absl::StatusOr<JsonDocument> JsonDocument::Read(const std::string& path, std::int64_t limit) {
  CODEGEN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limit));
  return Parse(text, std::filesystem::path(path).filename().string());
}

const char* JsonTypeName(element value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return "array";
    case element_type::OBJECT:
      return "object";
    case element_type::INT64:
    case element_type::UINT64:
      return "integer";
    case element_type::DOUBLE:
      return "number";
    case element_type::STRING:
      return "string";
    case element_type::BOOL:
      return "boolean";
    case element_type::NULL_VALUE:
      return "null";
  }
  return "unknown";
}

}  // namespace codegen::base
