// SPDX-License-Identifier: Apache-2.0
//
// The token ids of a request's prompt.
#ifndef CODEGEN_API_PROMPT_H_
#define CODEGEN_API_PROMPT_H_

#include <absl/status/statusor.h>

#include <optional>
#include <string_view>
#include <vector>

#include "codegen/request.h"
#include "codegen/tokenizer.h"

namespace codegen::api {

// Encodes a text. Errors: FAILED_PRECONDITION without a tokenizer, and as Tokenizer::Encode.
absl::StatusOr<std::vector<TokenId>> EncodeText(std::string_view text, AllowSpecial special,
                                                const std::optional<Tokenizer>& tokenizer);

// Returns prompt_ids, or encodes `prompt`. Requires: CheckRequest has passed. Errors: as
// EncodeText; INVALID_ARGUMENT if the text has a token that the model's `vocabulary` does not.
absl::StatusOr<std::vector<TokenId>> PromptIds(const Request& request,
                                               const std::optional<Tokenizer>& tokenizer,
                                               int vocabulary);

}  // namespace codegen::api

#endif  // CODEGEN_API_PROMPT_H_
