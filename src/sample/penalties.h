// SPDX-License-Identifier: Apache-2.0
//
// What a request's penalties and bias make of the logits of a sample's next token (Request says
// how): the list of those that change, kept up to date as the sample grows.
#ifndef CODEGEN_SAMPLE_PENALTIES_H_
#define CODEGEN_SAMPLE_PENALTIES_H_

#include <span>
#include <vector>

#include "backend/sampling.h"
#include "codegen/request.h"

namespace codegen::sample {

// Of one sample. A copy is the same for another one.
class Penalties {
 public:
  // Nothing ever changes.
  Penalties() = default;
  // As `request` says after `prompt`. Tokens from `vocabulary` on are never drawn and left alone.
  Penalties(const Request& request, std::span<const TokenId> prompt, TokenId vocabulary);

  // The sample goes on with `token`.
  void Take(TokenId token);

  // By ascending id; until the next call of Take.
  std::span<const backend::LogitChange> changes() const { return changes_; }

 private:
  // What a token's change is made of, beside whether it repeats.
  struct Cause {
    float bias = 0.0F;
    int drawn = 0;
  };

  // The place of a token in both lists, made if it has none.
  std::size_t PlaceOf(TokenId token);

  float repetition_ = 1.0F;
  float frequency_ = 0.0F;
  float presence_ = 0.0F;
  std::vector<backend::LogitChange> changes_;
  std::vector<Cause> causes_;  // [changes_]
};

}  // namespace codegen::sample

#endif  // CODEGEN_SAMPLE_PENALTIES_H_
