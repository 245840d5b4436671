// SPDX-License-Identifier: Apache-2.0
#include "json_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <utility>

#include "flag_values.h"

namespace cli {
namespace {

// A request nests two deep at most; a line of brackets alone must not fill the memory.
constexpr int kDepth = 8;

template <class Integer>
bool Convert(const Json& json, Integer& value) requires std::integral<Integer> {
  if (json.is_number_unsigned()) {
    const auto number = json.get<std::uint64_t>();
    value = static_cast<Integer>(number);
    return std::in_range<Integer>(number);
  }
  if (!json.is_number_integer()) return false;
  const auto number = json.get<std::int64_t>();
  value = static_cast<Integer>(number);
  return std::in_range<Integer>(number);
}

bool Convert(const Json& json, bool& value) {
  if (!json.is_boolean()) return false;
  value = json.get<bool>();
  return true;
}

bool Convert(const Json& json, float& value) {
  if (!json.is_number()) return false;
  const auto number = json.get<double>();
  if (std::abs(number) > std::numeric_limits<float>::max()) return false;
  value = static_cast<float>(number);
  return true;
}

bool Convert(const Json& json, std::string& value) {
  if (!json.is_string()) return false;
  value = json.get_ref<const std::string&>();
  return true;
}

template <class Element>
bool Convert(const Json& json, std::vector<Element>& value) {
  value.clear();
  if (!json.is_array()) return false;
  return std::all_of(json.begin(), json.end(), [&value](const Json& element) {
    return Convert(element, value.emplace_back());
  });
}

bool Convert(const Json& json, std::vector<std::string>& value) {
  if (!json.is_string()) return Convert<std::string>(json, value);
  value = {json.get<std::string>()};
  return true;
}

// An object of token ids, as keys of JSON are strings.
bool Convert(const Json& json, std::vector<codegen::TokenBias>& value) {
  value.clear();
  if (!json.is_object()) return false;
  return std::ranges::all_of(json.items(), [&value](const auto& item) {
    auto& [token, bias] = value.emplace_back();
    return ParseNumber(item.key(), 0, std::numeric_limits<int>::max(), token) &&
           Convert(item.value(), bias);
  });
}

absl::StatusOr<Json> Parse(const std::string& line) {
  bool too_deep = false;
  const auto shallow = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDepth;
    return !too_deep;
  };
  try {
    Json request = Json::parse(line, shallow);
    if (too_deep)
      return absl::InvalidArgumentError(fmt::format("JSON nested deeper than {}", kDepth));
    if (!request.is_object()) {
      return absl::InvalidArgumentError(
          fmt::format("expected a JSON object, found {}", request.type_name()));
    }
    return request;
  } catch (const Json::parse_error& error) {
    return absl::InvalidArgumentError(fmt::format("not JSON: wrong at byte {}", error.byte));
  } catch (const Json::exception&) {
    return absl::InvalidArgumentError("not JSON: a number is too large");
  }
}

std::string CodeName(const absl::Status& status) { return absl::StatusCodeToString(status.code()); }

JsonLine ReadJsonLine(const absl::StatusOr<std::string>& line) {
  if (!line.ok()) return {.request = line.status()};
  absl::StatusOr<Json> request = Parse(*line);
  if (!request.ok() || !request->contains("id")) return {.request = std::move(request)};
  Json id = request->at("id");
  if (id.is_string() || id.is_number()) return {.id = std::move(id), .request = std::move(request)};
  return {.request = absl::InvalidArgumentError(
              fmt::format("\"id\": expected a string or a number, found {}", id.type_name()))};
}

}  // namespace

template <class Value>
void Fields::ReadAs(const char* key, const char* expected, Value& value) {
  known_.emplace_back(key);
  const auto field = object_.find(key);
  if (field == object_.end() || Convert(*field, value) || !wrong_.ok()) return;
  std::string found = field->dump(-1, ' ', false, Json::error_handler_t::replace);
  if (found.size() > 40) found = field->type_name();
  wrong_ = absl::InvalidArgumentError(
      fmt::format("\"{}\": expected {}, found {}", key, expected, found));
}

void Fields::Read(const char* key, std::string& value) { ReadAs(key, "a string", value); }
void Fields::Read(const char* key, bool& value) { ReadAs(key, "true or false", value); }
void Fields::Read(const char* key, int& value) { ReadAs(key, "a 32-bit integer", value); }
void Fields::Read(const char* key, float& value) { ReadAs(key, "a number", value); }
void Fields::Read(const char* key, std::uint64_t& value) {
  ReadAs(key, "an integer of at least 0", value);
}
void Fields::Read(const char* key, std::vector<codegen::TokenId>& value) {
  ReadAs(key, "an array of token ids", value);
}
void Fields::Read(const char* key, std::vector<std::string>& value) {
  ReadAs(key, "a string or an array of strings", value);
}

void Fields::Read(const char* key, std::vector<codegen::TokenBias>& value) {
  ReadAs(key, "an object of token ids and numbers", value);
}

void Fields::Refuse(const char* key, const char* reason) {
  known_.emplace_back(key);
  if (object_.contains(key) && wrong_.ok())
    wrong_ = absl::InvalidArgumentError(fmt::format("\"{}\": {}", key, reason));
}

void Fields::RequireOneOf(std::initializer_list<const char*> keys) {
  const auto given = std::count_if(keys.begin(), keys.end(),
                                   [this](const char* key) { return object_.contains(key); });
  if (given == 1) return;
  missing_ = absl::InvalidArgumentError(
      fmt::format("give \"{}\"{}", fmt::join(keys, "\" or \""), given > 1 ? ", not both" : ""));
}

absl::Status Fields::Finish() const {
  if (!wrong_.ok()) return wrong_;
  for (const auto& [key, value] : object_.items()) {
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
      return absl::InvalidArgumentError(fmt::format("unknown key \"{}\"", key.substr(0, 40)));
    }
  }
  return missing_;
}

void ReadPrompt(Fields& fields, codegen::Request& request) {
  bool special = request.allow_special == codegen::AllowSpecial::kYes;
  fields.Read("prompt", request.prompt);
  fields.Read("prompt_ids", request.prompt_ids);
  fields.Read("special", special);
  fields.RequireOneOf({"prompt", "prompt_ids"});
  request.allow_special = special ? codegen::AllowSpecial::kYes : codegen::AllowSpecial::kNo;
}

std::optional<JsonLine> NextJsonLine(Lines& lines) {
  while (const std::optional<absl::StatusOr<std::string>> line = lines.Next()) {
    const bool blank = line->ok() && (*line)->find_first_not_of(" \t\r") == std::string::npos;
    if (!blank) return ReadJsonLine(*line);
  }
  return std::nullopt;
}

Json Answer(const Json& id, const absl::StatusOr<Json>& result) {
  Json answer = Json::object();
  if (!id.is_null()) answer["id"] = id;
  if (result.ok()) {
    answer.update(*result);
  } else {
    answer["error"] = {{"code", CodeName(result.status())},
                       {"message", std::string(result.status().message())}};
  }
  return answer;
}

absl::Status ServeJsonLines(const std::function<absl::StatusOr<Json>(const Json& request)>& serve) {
  Lines lines(stdin);
  while (const std::optional<JsonLine> line = NextJsonLine(lines)) {
    const absl::StatusOr<Json> result =
        line->request.ok() ? serve(*line->request) : line->request.status();
    if (const absl::Status status = WriteLine(Answer(line->id, result)); !status.ok())
      return status;
  }
  return absl::OkStatus();
}

}  // namespace cli
