// SPDX-License-Identifier: Apache-2.0
//
// Cuts text into the pieces that byte-pair merges never cross: GPT-2's pattern
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// as a scanner written by hand. A regex engine that backtracks needs a stack or quadratic time for
// a megabyte of one character; this reads each byte at most twice and keeps nothing.
#ifndef CODEGEN_TOKENIZER_PRETOKENIZE_H_
#define CODEGEN_TOKENIZER_PRETOKENIZE_H_

#include <cstddef>
#include <string_view>

namespace codegen::tokenizer {

// Returns the end of the piece that starts at `begin`.
// Requires: `text` is valid UTF-8, `begin` < text.size() is the start of a code point.
std::size_t PieceEnd(std::string_view text, std::size_t begin);

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_PRETOKENIZE_H_
