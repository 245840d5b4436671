// SPDX-License-Identifier: Apache-2.0
//
// Reading the values of flags: all of a text or nothing.
#ifndef CODEGEN_EXAMPLES_CLI_FLAG_VALUES_H_
#define CODEGEN_EXAMPLES_CLI_FLAG_VALUES_H_

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

namespace cli {

inline constexpr int kMaxInt = std::numeric_limits<int>::max();

inline constexpr char kCounts[] = "whole numbers of at least 1, e.g. 1,4,8";

// Reads all of `text` as a number in [low, high]; NaN is in no interval.
template <class Number>
bool ParseNumber(std::string_view text, Number low, Number high, Number& number) {
  Number parsed{};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, parsed);
  if (error != std::errc() || stopped != end || !(parsed >= low && parsed <= high)) return false;
  number = parsed;
  return true;
}

inline std::string_view SkipSpace(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

// Reads numbers of [low, high] separated by commas or white space; an empty place between commas is
// an error.
template <class Number>
std::optional<std::vector<Number>> ParseNumbers(std::string_view text, Number low, Number high) {
  std::vector<Number> numbers;
  for (text = SkipSpace(text); !text.empty(); text = SkipSpace(text)) {
    const std::string_view word = text.substr(0, text.find_first_of(", \t\r\n"));
    if (!ParseNumber(word, low, high, numbers.emplace_back())) return std::nullopt;
    text = SkipSpace(text.substr(word.size()));
    if (!text.starts_with(',')) continue;
    text = SkipSpace(text.substr(1));
    if (text.empty()) return std::nullopt;
  }
  return numbers;
}

// Sets `list` to the numbers of [low, high] in `text`, of which there must be one at least.
template <class Number>
bool SetList(std::string_view text, Number low, Number high, std::vector<Number>& list) {
  const std::optional<std::vector<Number>> parsed = ParseNumbers(text, low, high);
  if (!parsed || parsed->empty()) return false;
  list = *parsed;
  return true;
}

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_FLAG_VALUES_H_
