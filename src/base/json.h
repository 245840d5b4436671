// SPDX-License-Identifier: Apache-2.0
//
// Reading JSON files that nobody vouches for: simdjson's strict parser (whole-document UTF-8, no
// NaN, no trailing text) with a bound on depth, and every duplicate key refused, since two readers
// could disagree about it.
#ifndef CODEGEN_BASE_JSON_H_
#define CODEGEN_BASE_JSON_H_

#include <absl/status/statusor.h>
#include <simdjson.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace codegen::base {

// A parsed document whose top is an object. Owns what its elements point to.
class JsonDocument {
 public:
  // Parses `text`; `name` is the file that messages show.
  // Errors: DATA_LOSS (empty, malformed, not UTF-8, nested deeper than Limits::json_depth, a key
  // twice, not an object).
  static absl::StatusOr<JsonDocument> Parse(std::string_view text, const std::string& name);

  // Reads and parses a file of at most `limit` bytes. Errors: as ReadFile and Parse.
  static absl::StatusOr<JsonDocument> Read(const std::string& path, std::int64_t limit);

  simdjson::dom::object root() const { return root_; }
  const std::string& name() const { return name_; }

 private:
  JsonDocument() = default;
  std::unique_ptr<simdjson::dom::parser> parser_;
  simdjson::dom::object root_;
  std::string name_;
};

// Returns "object", "array", "string", "integer", "number", "boolean" or "null": for messages.
const char* JsonTypeName(simdjson::dom::element element);

}  // namespace codegen::base

#endif  // CODEGEN_BASE_JSON_H_
