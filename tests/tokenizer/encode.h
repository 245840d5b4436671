// SPDX-License-Identifier: Apache-2.0
#ifndef CODEGEN_TESTS_TOKENIZER_ENCODE_H_
#define CODEGEN_TESTS_TOKENIZER_ENCODE_H_

#include <gtest/gtest.h>

#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace codegen::tokenizer {

// The ids of `text`, which must have some.
inline std::vector<TokenId> Encode(const Vocabulary& vocabulary, std::string_view text,
                                   AllowSpecial special = AllowSpecial::kNo) {
  auto ids = vocabulary.Encode(text, special);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return *std::move(ids);
}

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TESTS_TOKENIZER_ENCODE_H_
