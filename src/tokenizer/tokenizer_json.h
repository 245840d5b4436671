// SPDX-License-Identifier: Apache-2.0
//
// tokenizer.json, the one file of Hugging Face's tokenizers library, as far as byte-level BPE goes:
// the published CodeGen1 and CodeGen2 files and any vocabulary of the same make.
#ifndef CODEGEN_TOKENIZER_TOKENIZER_JSON_H_
#define CODEGEN_TOKENIZER_TOKENIZER_JSON_H_

#include <absl/status/statusor.h>

#include <memory>
#include <string>

#include "base/json.h"
#include "tokenizer/vocabulary.h"

namespace codegen::tokenizer {

// Errors: DATA_LOSS (not the shape of such a file), INVALID_ARGUMENT (its parts contradict each
// other), UNIMPLEMENTED naming the part that this library does not have, RESOURCE_EXHAUSTED.
absl::StatusOr<std::shared_ptr<const Vocabulary>> VocabularyOfTokenizerJson(
    const base::JsonDocument& document);

// Reads "tokenizer.json" in `folder`. Errors: also those of reading.
absl::StatusOr<std::shared_ptr<const Vocabulary>> ReadTokenizerJson(const std::string& folder);

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_TOKENIZER_JSON_H_
