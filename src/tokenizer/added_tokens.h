// SPDX-License-Identifier: Apache-2.0
//
// Finds tokens that are matched in the text itself, before it is cut into pieces: CodeGen's runs of
// spaces and tabs, and control strings. The leftmost match wins, and of those that start together
// the longest.
//
// Ordinary text must not pay for it: a bitmap of the first two bytes of all tokens dismisses nearly
// every position, and only the rest walk a trie. Time is linear in the text, with the length of the
// longest token as its worst constant.
#ifndef CODEGEN_TOKENIZER_ADDED_TOKENS_H_
#define CODEGEN_TOKENIZER_ADDED_TOKENS_H_

#include <absl/container/flat_hash_map.h>

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "codegen/request.h"

namespace codegen::tokenizer {

// Safe for concurrent use once Add is no longer called.
class AddedTokenMatcher {
 public:
  struct Match {
    std::size_t begin;
    std::size_t end;
    TokenId id;
  };

  // Requires: `content` is not empty and was not added before.
  void Add(std::string_view content, TokenId id);

  // Returns the first match that starts at `from` or later.
  std::optional<Match> Next(std::string_view text, std::size_t from) const;

 private:
  static constexpr TokenId kNoToken = -1;

  bool MayStartAt(std::string_view text, std::size_t at) const;
  std::optional<Match> LongestAt(std::string_view text, std::size_t at) const;

  bool empty_ = true;
  std::bitset<256> single_bytes_;  // tokens of one byte
  std::bitset<256> first_bytes_;
  std::bitset<65536> first_pairs_;  // first byte * 256 + second byte
  // The trie: `children_` maps (node * 256 + byte) to a node; node 0 is the root.
  absl::flat_hash_map<std::uint64_t, std::uint32_t> children_;
  std::vector<TokenId> token_of_node_ = {kNoToken};
};

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_ADDED_TOKENS_H_
