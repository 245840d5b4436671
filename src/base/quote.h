// SPDX-License-Identifier: Apache-2.0
//
// Text of a file as a message may show it: short, printable, in double quotes.
#ifndef CODEGEN_BASE_QUOTE_H_
#define CODEGEN_BASE_QUOTE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace codegen::base {

// Returns `text` in double quotes: at most 100 bytes of it, then "...", with '?' for every byte
// that is not printable ASCII.
inline std::string Quote(std::string_view text) {
  constexpr std::size_t kShown = 100;
  std::string quoted = "\"";
  for (const char c : text.substr(0, kShown)) quoted += (c >= ' ' && c <= '~') ? c : '?';
  quoted += text.size() > kShown ? "...\"" : "\"";
  return quoted;
}

}  // namespace codegen::base

#endif  // CODEGEN_BASE_QUOTE_H_
