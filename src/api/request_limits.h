// SPDX-License-Identifier: Apache-2.0
//
// The one place where a request is held against Limits and the model.
#ifndef CODEGEN_API_REQUEST_LIMITS_H_
#define CODEGEN_API_REQUEST_LIMITS_H_

#include <absl/status/status.h>

#include <span>

#include "codegen/request.h"

namespace codegen::api {

// Checks every field but the prompt's length in tokens. `vocabulary` is the number of ids the
// model's embedding has. Errors: INVALID_ARGUMENT naming the field, its value and its limit.
absl::Status CheckRequest(const Request& request, int vocabulary);

// Checks that there is at least one id and all are in [0, vocabulary). `field` is named in the
// error.
absl::Status CheckTokenIds(std::span<const TokenId> ids, const char* field, int vocabulary);

}  // namespace codegen::api

#endif  // CODEGEN_API_REQUEST_LIMITS_H_
