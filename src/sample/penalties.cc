// SPDX-License-Identifier: Apache-2.0
#include "sample/penalties.h"

#include <algorithm>
#include <cstddef>

namespace codegen::sample {

Penalties::Penalties(const Request& request, std::span<const TokenId> prompt, TokenId vocabulary)
    : repetition_(request.repetition_penalty),
      frequency_(request.frequency_penalty),
      presence_(request.presence_penalty) {
  for (const auto& [token, bias] : request.logit_bias) {
    if (token >= vocabulary) continue;
    const std::size_t place = PlaceOf(token);
    causes_[place].bias = bias;
    changes_[place].bias = bias;
  }
  if (repetition_ == 1) return;
  for (const TokenId token : prompt)
    if (token < vocabulary) changes_[PlaceOf(token)].divisor = repetition_;
}

void Penalties::Take(TokenId token) {
  if (repetition_ == 1 && frequency_ == 0 && presence_ == 0) return;
  const std::size_t place = PlaceOf(token);
  Cause& cause = causes_[place];
  ++cause.drawn;
  changes_[place].divisor = repetition_;
  changes_[place].bias = cause.bias - (frequency_ * static_cast<float>(cause.drawn) + presence_);
}

std::size_t Penalties::PlaceOf(TokenId token) {
  const auto found = std::ranges::lower_bound(changes_, token, {}, &backend::LogitChange::id);
  const auto place = found - changes_.begin();
  if (found == changes_.end() || found->id != token) {
    changes_.insert(found, {.id = token});
    causes_.insert(causes_.begin() + place, Cause());
  }
  return static_cast<std::size_t>(place);
}

}  // namespace codegen::sample
