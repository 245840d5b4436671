// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/stream_decoder.h"

#include <cstddef>
#include <utility>

#include "base/utf8.h"

namespace codegen::tokenizer {

std::string AddToken(const Vocabulary& vocabulary, TokenId id, std::string& pending) {
  pending.append(vocabulary.TextOf(id));
  const std::size_t ready = pending.size() - base::UnfinishedTail(pending);
  std::string tail = pending.substr(ready);
  pending.resize(ready);
  return base::ToValidUtf8(std::exchange(pending, std::move(tail)));
}

std::string FlushText(std::string& pending) {
  return base::ToValidUtf8(std::exchange(pending, std::string()));
}

}  // namespace codegen::tokenizer
