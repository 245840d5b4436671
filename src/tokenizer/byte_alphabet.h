// SPDX-License-Identifier: Apache-2.0
//
// The spelling of bytes in GPT-2's vocabulary files: each byte is one printable character. Bytes
// 33..126, 161..172 and 174..255 are the character of the same number; the other 68, in order, are
// U+0100, U+0101, ...: a space is spelled U+0120, a line feed U+010A.
#ifndef CODEGEN_TOKENIZER_BYTE_ALPHABET_H_
#define CODEGEN_TOKENIZER_BYTE_ALPHABET_H_

#include <optional>
#include <string>
#include <string_view>

namespace codegen::tokenizer {

// Returns the bytes that `spelled` stands for, or nothing if it has a character outside the
// alphabet. Requires: valid UTF-8.
std::optional<std::string> BytesOfSpelling(std::string_view spelled);

// Returns the spelling of `bytes`.
std::string SpellingOfBytes(std::string_view bytes);

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_BYTE_ALPHABET_H_
