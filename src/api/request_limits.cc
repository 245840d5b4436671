// SPDX-License-Identifier: Apache-2.0
#include "api/request_limits.h"

#include <fmt/format.h>

#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"
#include "codegen/options.h"

namespace codegen::api {
namespace {

constexpr float kLargestTemperature = 100.0F;
constexpr float kLeastRepetition = 0.01F;
constexpr float kLargestRepetition = 100.0F;
constexpr float kLargestPenalty = 2.0F;
constexpr float kLargestBias = 100.0F;

template <class... Args>
absl::Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError(fmt::format(format, std::forward<Args>(args)...));
}

absl::Status CheckPrompt(const Request& request) {
  if (request.prompt.empty() && request.prompt_ids.empty()) {
    return Invalid("prompt is empty: give prompt or prompt_ids at least one token");
  }
  if (!request.prompt.empty() && !request.prompt_ids.empty()) {
    return Invalid("prompt and prompt_ids are both given: only one of them can be the prompt");
  }
  return absl::OkStatus();
}

// Comparisons are written so that NaN fails them.
absl::Status CheckSampling(const Request& request) {
  if (request.max_new_tokens < 0)
    return Invalid("max_new_tokens is {}, must be >= 0", request.max_new_tokens);
  if (!(request.temperature >= 0 && request.temperature <= kLargestTemperature)) {
    return Invalid("temperature is {}, allowed 0 to {}", request.temperature, kLargestTemperature);
  }
  if (request.top_k < 0) return Invalid("top_k is {}, must be >= 0", request.top_k);
  if (!(request.top_p > 0 && request.top_p <= 1))
    return Invalid("top_p is {}, must be above 0 and at most 1", request.top_p);
  if (!(request.min_p >= 0 && request.min_p <= 1))
    return Invalid("min_p is {}, allowed 0 to 1", request.min_p);
  return absl::OkStatus();
}

absl::Status CheckBias(const std::vector<TokenBias>& biases, int vocabulary) {
  if (biases.size() > Limits::logit_biases) {
    return Invalid("logit_bias has {} entries, limit {}", biases.size(), Limits::logit_biases);
  }
  std::set<TokenId> seen;
  for (std::size_t i = 0; i < biases.size(); ++i) {
    const auto& [token, bias] = biases[i];
    if (token < 0 || token >= vocabulary) {
      return Invalid("logit_bias[{}].token is {}, the model has ids 0 to {}", i, token,
                     vocabulary - 1);
    }
    if (!(std::abs(bias) <= kLargestBias)) {
      return Invalid("logit_bias[{}].bias is {}, allowed {} to {}", i, bias, -kLargestBias,
                     kLargestBias);
    }
    if (!seen.insert(token).second)
      return Invalid("logit_bias[{}].token is {}, which has a bias already", i, token);
  }
  return absl::OkStatus();
}

absl::Status CheckPenalties(const Request& request) {
  if (!(request.repetition_penalty >= kLeastRepetition &&
        request.repetition_penalty <= kLargestRepetition)) {
    return Invalid("repetition_penalty is {}, allowed {} to {}", request.repetition_penalty,
                   kLeastRepetition, kLargestRepetition);
  }
  if (!(std::abs(request.frequency_penalty) <= kLargestPenalty)) {
    return Invalid("frequency_penalty is {}, allowed {} to {}", request.frequency_penalty,
                   -kLargestPenalty, kLargestPenalty);
  }
  if (!(std::abs(request.presence_penalty) <= kLargestPenalty)) {
    return Invalid("presence_penalty is {}, allowed {} to {}", request.presence_penalty,
                   -kLargestPenalty, kLargestPenalty);
  }
  return absl::OkStatus();
}

absl::Status CheckServing(const Request& request) {
  if (request.n < 1 || request.n > Limits::samples)
    return Invalid("n is {}, allowed 1 to {}", request.n, Limits::samples);
  if (request.priority < -Limits::priority || request.priority > Limits::priority) {
    return Invalid("priority is {}, allowed {} to {}", request.priority, -Limits::priority,
                   Limits::priority);
  }
  if (request.cache_salt.size() > Limits::cache_salt_bytes) {
    return Invalid("cache_salt has {} bytes, limit {}", request.cache_salt.size(),
                   Limits::cache_salt_bytes);
  }
  return absl::OkStatus();
}

absl::Status CheckStopStrings(const std::vector<std::string>& strings) {
  if (strings.size() > Limits::stop_strings) {
    return Invalid("stop.strings has {} entries, limit {}", strings.size(), Limits::stop_strings);
  }
  for (std::size_t i = 0; i < strings.size(); ++i) {
    if (strings[i].empty()) return Invalid("stop.strings[{}] is empty", i);
    if (strings[i].size() > Limits::stop_string_bytes) {
      return Invalid("stop.strings[{}] has {} bytes, limit {}", i, strings[i].size(),
                     Limits::stop_string_bytes);
    }
    if (base::FindInvalidUtf8(strings[i]).has_value())
      return Invalid("stop.strings[{}] is not valid UTF-8", i);
  }
  return absl::OkStatus();
}

absl::Status CheckStopTokens(const std::vector<TokenId>& tokens, int vocabulary) {
  if (tokens.size() > Limits::stop_tokens) {
    return Invalid("stop.tokens has {} entries, limit {}", tokens.size(), Limits::stop_tokens);
  }
  return tokens.empty() ? absl::OkStatus() : CheckTokenIds(tokens, "stop.tokens", vocabulary);
}

}  // namespace

absl::Status CheckTokenIds(std::span<const TokenId> ids, const char* field, int vocabulary) {
  if (ids.empty()) return Invalid("{} is empty: at least one token is needed", field);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary) {
      return Invalid("{}[{}] is {}, the model has ids 0 to {}", field, i, ids[i], vocabulary - 1);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRequest(const Request& request, int vocabulary) {
  CODEGEN_RETURN_IF_ERROR(CheckPrompt(request));
  CODEGEN_RETURN_IF_ERROR(CheckSampling(request));
  CODEGEN_RETURN_IF_ERROR(CheckPenalties(request));
  CODEGEN_RETURN_IF_ERROR(CheckBias(request.logit_bias, vocabulary));
  CODEGEN_RETURN_IF_ERROR(CheckServing(request));
  CODEGEN_RETURN_IF_ERROR(CheckStopStrings(request.stop.strings));
  CODEGEN_RETURN_IF_ERROR(CheckStopTokens(request.stop.tokens, vocabulary));
  return request.prompt_ids.empty() ? absl::OkStatus()
                                    : CheckTokenIds(request.prompt_ids, "prompt_ids", vocabulary);
}

}  // namespace codegen::api
