// SPDX-License-Identifier: Apache-2.0
//
// UTF-8 as bytes: is it valid, which code point starts here, and what to show where it is broken.
//
// Everything follows from one question, ScanCodePoint: what do the bytes from here on spell? The
// answer for broken text is the "maximal subpart" of the Unicode standard (section 3.9, table 3-7):
// the longest prefix of a code point's bytes that could still have become one. Each such subpart
// becomes one U+FFFD, as in Python, Rust and browsers, so that texts can be compared across them.
#ifndef CODEGEN_BASE_UTF8_H_
#define CODEGEN_BASE_UTF8_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace codegen::base {

// U+FFFD, the replacement character.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Utf8Scan {
  enum class Kind {
    kWhole,       // a code point of `bytes` bytes
    kBroken,      // `bytes` bytes that no continuation could make one
    kUnfinished,  // the text ends inside a code point, after `bytes` bytes of it
  };
  Kind kind;
  std::size_t bytes;  // in [1, 4]
};

// Says what starts at `text[at]`. Requires: at < text.size().
Utf8Scan ScanCodePoint(std::string_view text, std::size_t at);

struct CodePoint {
  char32_t value;
  std::size_t bytes;
};

// Decodes the code point whose first byte is `*text`. Requires: valid UTF-8.
inline CodePoint DecodeCodePoint(const char* text) {
  const auto byte = [text](int i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[i]));
  };
  if (byte(0) < 0x80) return {byte(0), 1};
  if (byte(0) < 0xE0) return {(byte(0) & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (byte(0) < 0xF0) {
    return {(byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  }
  return {
      (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
      4};
}

// Returns the offset of the first byte that is not part of a whole code point, if there is one.
std::optional<std::size_t> FindInvalidUtf8(std::string_view text);

// Returns `bytes` with each maximal broken or unfinished subpart replaced by U+FFFD.
std::string ToValidUtf8(std::string bytes);

// Returns how many bytes at the end of `bytes` may still become a code point: 0 to 3.
std::size_t UnfinishedTail(std::string_view bytes);

// Appends `code_point`. Requires: a Unicode scalar value.
void AppendUtf8(char32_t code_point, std::string& out);

}  // namespace codegen::base

#endif  // CODEGEN_BASE_UTF8_H_
