// SPDX-License-Identifier: Apache-2.0
//
// One JSON request a line in, one JSON result a line out.
//
// A request is an object. Its optional "id", a string or a number, comes back with its result. A
// line that cannot be served gets {"id"?, "error": {"code", "message"}} and the next one is served.
#ifndef CODEGEN_EXAMPLES_CLI_JSON_LINES_H_
#define CODEGEN_EXAMPLES_CLI_JSON_LINES_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "codegen/codegen.h"
#include "input.h"
#include "output.h"

namespace cli {

// The fields of one request, read one by one into values that an absent field leaves as they are.
//
//   Fields fields(request);
//   fields.Read("prompt", prompt);
//   fields.Read("seed", seed);
//   if (absl::Status status = fields.Finish(); !status.ok()) return status;
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object), known_{"id"} {}

  void Read(const char* key, std::string& value);
  void Read(const char* key, bool& value);
  void Read(const char* key, int& value);
  void Read(const char* key, float& value);
  void Read(const char* key, std::uint64_t& value);
  void Read(const char* key, std::vector<codegen::TokenId>& value);
  void Read(const char* key, std::vector<std::string>& value);
  void Read(const char* key, std::vector<codegen::TokenBias>& value);

  // Makes an error of it if the request has `key`, and says why.
  void Refuse(const char* key, const char* reason);

  // Makes an error of it unless the request has one of `keys`, and one alone.
  void RequireOneOf(std::initializer_list<const char*> keys);

  // Returns what is wrong with the request, naming the key: INVALID_ARGUMENT for a value of the
  // wrong type, a key that was not read or one that is missing.
  absl::Status Finish() const;

 private:
  template <class Value>
  void ReadAs(const char* key, const char* expected, Value& value);

  const Json& object_;
  std::vector<std::string> known_;
  absl::Status wrong_;    // the first value of the wrong type
  absl::Status missing_;  // keys
};

// Reads "prompt" or "prompt_ids", of which there must be one, and "special" into `request`.
void ReadPrompt(Fields& fields, codegen::Request& request);

// One line of input, as far as it can be understood.
struct JsonLine {
  Json id = {};                  // null without one
  absl::StatusOr<Json> request;  // an object, or what is wrong with the line
};

// Returns the next line of `lines` that is not blank, nothing at the end.
std::optional<JsonLine> NextJsonLine(Lines& lines);

// Returns `result` or what went wrong, with the id in front.
Json Answer(const Json& id, const absl::StatusOr<Json>& result);

// Answers every line of standard input with `serve`, in order, each flushed. Errors: as Write.
absl::Status ServeJsonLines(const std::function<absl::StatusOr<Json>(const Json& request)>& serve);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_JSON_LINES_H_
