// SPDX-License-Identifier: Apache-2.0
//
// From a folder to a vocabulary, whichever files it has.
#ifndef CODEGEN_TOKENIZER_LOAD_TOKENIZER_H_
#define CODEGEN_TOKENIZER_LOAD_TOKENIZER_H_

#include <absl/status/statusor.h>

#include <memory>
#include <string>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace codegen::tokenizer {

// Returns whether `folder` has any tokenizer file, complete or not.
bool HasTokenizerFiles(const std::string& folder);

// Returns the names of the files in `folder` that LoadTokenizer reads.
std::vector<std::string> TokenizerFiles(const std::string& folder);

// Returns the names that LoadTokenizer looks for in any folder.
std::vector<std::string> TokenizerFileNames();

// Reads the tokenizer of CodeGen1, CodeGen2, GPT-2 or any byte-level BPE vocabulary:
// tokenizer.json, or else the files of gpt2_files.h. Where both are, tokenizer.json alone is read.
// Errors: NOT_FOUND saying what to put where; DATA_LOSS; INVALID_ARGUMENT; UNIMPLEMENTED;
// RESOURCE_EXHAUSTED.
absl::StatusOr<std::shared_ptr<const Vocabulary>> LoadTokenizer(const std::string& folder);

// Builds CodeGen2.5's tokenizer from a folder that has GPT-2's, CodeGen1's or CodeGen2's. An empty
// `gpt2_folder` means that the host gave none: NOT_FOUND saying how to give it.
// Errors: as LoadTokenizer; INVALID_ARGUMENT if it is some other vocabulary.
absl::StatusOr<std::shared_ptr<const Vocabulary>> LoadCodeGen25Tokenizer(
    const std::string& gpt2_folder);

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_LOAD_TOKENIZER_H_
