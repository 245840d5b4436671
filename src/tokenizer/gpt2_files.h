// SPDX-License-Identifier: Apache-2.0
//
// The files that GPT-2's tokenizer has been published as, other than tokenizer.json:
//
//   vocab.json (or encoder.json) + merges.txt (or vocab.bpe), and added_tokens.json if there is
//   one:
//       any vocabulary. vocab.json spells each id, merges.txt lists the merges in order.
//   vocab.bpe alone: OpenAI's list of merges. GPT-2's ids follow from it: the 256 bytes in the
//   order
//       of the byte alphabet, one id per merge, `<|endoftext|>`.
//   gpt2.tiktoken: a line "base64-of-bytes id" for each of the same tokens.
//
// The last two can only be GPT-2's own, and are refused if their contents are not.
#ifndef CODEGEN_TOKENIZER_GPT2_FILES_H_
#define CODEGEN_TOKENIZER_GPT2_FILES_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace codegen::tokenizer {

// The control token of every family; GPT-2 gives it the id after its pieces, 50256.
inline constexpr std::string_view kEndOfText = "<|endoftext|>";
inline constexpr int kGpt2Pieces = 50256;

// Returns whether `folder` has a file that only such a tokenizer has, even if another is missing.
bool HasGpt2Files(const std::string& folder);

// Returns the names of the files in `folder` that ReadGpt2Files reads, and of those that it may
// read in any folder.
std::vector<std::string> Gpt2Files(const std::string& folder);
std::vector<std::string> Gpt2FileNames();

// Errors: NOT_FOUND saying what to put where; DATA_LOSS naming the line; INVALID_ARGUMENT;
// RESOURCE_EXHAUSTED.
absl::StatusOr<std::shared_ptr<const Vocabulary>> ReadGpt2Files(const std::string& folder);

// Returns OK if `pieces` are exactly GPT-2's, in order of their ids; else INVALID_ARGUMENT.
absl::Status CheckGpt2Pieces(std::span<const std::string_view> pieces, const std::string& source);

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_GPT2_FILES_H_
