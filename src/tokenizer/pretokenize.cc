// SPDX-License-Identifier: Apache-2.0
//
// How the alternatives collapse. They are tried in order at each position, so:
//
// - a contraction wins wherever the piece would start with an apostrophe;
// - a letter, number or "other" run wins if its first character is here, or one U+0020 further;
// - what remains starts with white space that is not a U+0020 before a non-space. `\s+(?!\S)` takes
//   the run of white space up to the end of the text, or else all of it but its last character,
//   which is left to become the optional space of the next piece; a run of one is left to `\s+`.
#include "tokenizer/pretokenize.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"
#include "tokenizer/unicode_classes.h"

namespace codegen::tokenizer {
namespace {

constexpr CharClass ClassOfAscii(int c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return CharClass::kLetter;
  if (c >= '0' && c <= '9') return CharClass::kNumber;
  if (c == ' ' || (c >= '\t' && c <= '\r')) return CharClass::kSpace;
  return CharClass::kOther;
}

constexpr std::array<CharClass, 128> kAsciiClass = [] {
  std::array<CharClass, 128> table{};
  for (int c = 0; c < 128; ++c) table[static_cast<std::size_t>(c)] = ClassOfAscii(c);
  return table;
}();

struct Classified {
  CharClass char_class;
  std::size_t bytes;
};

Classified ClassifyWide(const char* at) {
  const base::CodePoint code_point = base::DecodeCodePoint(at);
  return {ClassOf(code_point.value), code_point.bytes};
}

inline Classified Classify(const char* at) {
  const auto byte = static_cast<unsigned char>(*at);
  if (byte < 128) return {kAsciiClass[byte], 1};
  return ClassifyWide(at);
}

std::size_t RunEnd(std::string_view text, std::size_t at, CharClass char_class) {
  while (at < text.size()) {
    const Classified next = Classify(text.data() + at);
    if (next.char_class != char_class) break;
    at += next.bytes;
  }
  return at;
}

// Returns the length of the contraction at `at`, where an apostrophe stands; 0 if there is none.
std::size_t ContractionLength(std::string_view text, std::size_t at) {
  const std::string_view tail = text.substr(at + 1, 2);
  if (tail.empty()) return 0;
  if (tail[0] == 's' || tail[0] == 't' || tail[0] == 'm' || tail[0] == 'd') return 2;
  if (tail == "re" || tail == "ve" || tail == "ll") return 3;
  return 0;
}

std::size_t WhiteSpaceEnd(std::string_view text, std::size_t begin) {
  const std::size_t end = RunEnd(text, begin, CharClass::kSpace);
  if (end == text.size()) return end;
  std::size_t last = end - 1;
  while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
  return last == begin ? end : last;
}

}  // namespace

std::size_t PieceEnd(std::string_view text, std::size_t begin) {
  if (text[begin] == '\'') {
    if (const std::size_t length = ContractionLength(text, begin); length > 0)
      return begin + length;
  }
  const std::size_t first = begin + (text[begin] == ' ' ? 1 : 0);
  if (first < text.size()) {
    const Classified next = Classify(text.data() + first);
    if (next.char_class != CharClass::kSpace) {
      return RunEnd(text, first + next.bytes, next.char_class);
    }
  }
  return WhiteSpaceEnd(text, begin);
}

}  // namespace codegen::tokenizer
