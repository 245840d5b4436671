// SPDX-License-Identifier: Apache-2.0
//
// Text on its way from tokens to whoever asked: whole code points, nothing of a stop string.
#ifndef CODEGEN_API_TEXT_OUTPUT_H_
#define CODEGEN_API_TEXT_OUTPUT_H_

#include <optional>
#include <string>

#include "codegen/request.h"
#include "codegen/tokenizer.h"
#include "sample/stop.h"

namespace codegen::api {

// Without a tokenizer there is no text, and no stop string is ever found.
class TextOutput {
 public:
  using Result = sample::StopMatcher::Result;

  TextOutput(const std::optional<Tokenizer>& tokenizer, const Stop& stop);

  // Returns the text that `id` makes certain, and whether the text has reached a stop string.
  Result Add(TokenId id);

  // No more tokens will come: releases what was held back, which may complete a stop string.
  Result Finish();

 private:
  std::optional<StreamDecoder> decoder_;
  sample::StopMatcher stop_;
};

}  // namespace codegen::api

#endif  // CODEGEN_API_TEXT_OUTPUT_H_
