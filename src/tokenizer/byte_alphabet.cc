// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_alphabet.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/utf8.h"

namespace codegen::tokenizer {
namespace {

constexpr bool SpellsItself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

constexpr std::array<char16_t, 256> kCharacterOfByte = [] {
  std::array<char16_t, 256> table{};
  char16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[static_cast<std::size_t>(byte)] =
        SpellsItself(byte) ? static_cast<char16_t>(byte) : next++;
  }
  return table;
}();

constexpr std::size_t kAlphabetEnd = 0x100 + 68;

constexpr std::array<std::int16_t, kAlphabetEnd> kByteOfCharacter = [] {
  std::array<std::int16_t, kAlphabetEnd> table{};
  for (auto& byte : table) byte = -1;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    table[kCharacterOfByte[byte]] = static_cast<std::int16_t>(byte);
  }
  return table;
}();

}  // namespace

std::optional<std::string> BytesOfSpelling(std::string_view spelled) {
  std::string bytes;
  bytes.reserve(spelled.size());
  for (std::size_t at = 0; at < spelled.size();) {
    const base::CodePoint code_point = base::DecodeCodePoint(spelled.data() + at);
    if (code_point.value >= kAlphabetEnd || kByteOfCharacter[code_point.value] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(kByteOfCharacter[code_point.value]));
    at += code_point.bytes;
  }
  return bytes;
}

std::string SpellingOfBytes(std::string_view bytes) {
  std::string spelled;
  spelled.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    base::AppendUtf8(kCharacterOfByte[static_cast<unsigned char>(byte)], spelled);
  }
  return spelled;
}

}  // namespace codegen::tokenizer
