// SPDX-License-Identifier: Apache-2.0
#include "api/prompt.h"

#include "api/request_limits.h"
#include "base/check.h"

namespace codegen::api {

absl::StatusOr<std::vector<TokenId>> EncodeText(std::string_view text, AllowSpecial special,
                                                const std::optional<Tokenizer>& tokenizer) {
  if (!tokenizer) {
    return absl::FailedPreconditionError(
        "the model has no tokenizer: give token ids, or set LoadOptions::tokenizer_folder");
  }
  return tokenizer->Encode(text, special);
}

absl::StatusOr<std::vector<TokenId>> PromptIds(const Request& request,
                                               const std::optional<Tokenizer>& tokenizer,
                                               int vocabulary) {
  if (!request.prompt_ids.empty()) return request.prompt_ids;
  CODEGEN_ASSIGN_OR_RETURN(std::vector<TokenId> ids,
                           EncodeText(request.prompt, request.allow_special, tokenizer));
  CODEGEN_RETURN_IF_ERROR(CheckTokenIds(ids, "prompt", vocabulary));
  return ids;
}

}  // namespace codegen::api
