// SPDX-License-Identifier: Apache-2.0
#include "api/text_output.h"

namespace codegen::api {

TextOutput::TextOutput(const std::optional<Tokenizer>& tokenizer, const Stop& stop)
    : decoder_(tokenizer ? std::optional(tokenizer->Stream()) : std::nullopt),
      stop_(stop.strings) {}

TextOutput::Result TextOutput::Add(TokenId id) {
  return decoder_ ? stop_.Add(decoder_->Add(id)) : Result();
}

TextOutput::Result TextOutput::Finish() {
  if (!decoder_) return {};
  Result result = stop_.Add(decoder_->Finish());
  if (result.matched) return result;
  // A stop that waited for a longer one, which began earlier, to fail.
  const Result last = stop_.Finish();
  return {.text = result.text + last.text, .matched = last.matched};
}

}  // namespace codegen::api
