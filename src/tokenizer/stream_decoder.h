// SPDX-License-Identifier: Apache-2.0
//
// Text from tokens that arrive one by one. A token may end inside a code point (most emoji and many
// CJK characters span tokens), so up to three bytes wait in `pending` for the rest.
//
// What AddToken and FlushText return, joined, is what Vocabulary::Decode returns for all tokens.
#ifndef CODEGEN_TOKENIZER_STREAM_DECODER_H_
#define CODEGEN_TOKENIZER_STREAM_DECODER_H_

#include <string>

#include "codegen/request.h"
#include "tokenizer/vocabulary.h"

namespace codegen::tokenizer {

// Returns the text that `id` completes; `pending` keeps what may still become a code point.
std::string AddToken(const Vocabulary& vocabulary, TokenId id, std::string& pending);

// Returns what `pending` keeps, as U+FFFD, and empties it.
std::string FlushText(std::string& pending);

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_STREAM_DECODER_H_
