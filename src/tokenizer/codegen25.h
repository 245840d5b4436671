// SPDX-License-Identifier: Apache-2.0
//
// CodeGen2.5's tokenizer, which is published as Python code only: tiktoken's "gpt2" ranks, the runs
// of spaces and tabs of CodeGen1 as further ranks, and control strings.
//
// Unlike in CodeGen1 and 2, runs of white space merge inside the pieces of the pattern, by rank:
// the last of four spaces before a word belongs to the word (50285, " return"), where CodeGen1
// takes all four first (50284, "return"). A longer run has a lower rank, so runs grow greedily from
// the left.
#ifndef CODEGEN_TOKENIZER_CODEGEN25_H_
#define CODEGEN_TOKENIZER_CODEGEN25_H_

#include <absl/status/statusor.h>

#include <memory>

#include "tokenizer/vocabulary.h"

namespace codegen::tokenizer {

// Builds it from any vocabulary that begins with GPT-2's pieces: GPT-2's, CodeGen1's or CodeGen2's.
// Errors: INVALID_ARGUMENT if `gpt2` is something else.
absl::StatusOr<std::shared_ptr<const Vocabulary>> CodeGen25Vocabulary(const Vocabulary& gpt2);

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_CODEGEN25_H_
