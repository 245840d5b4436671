// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/added_tokens.h"

namespace codegen::tokenizer {
namespace {

std::size_t ByteAt(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

}  // namespace

void AddedTokenMatcher::Add(std::string_view content, TokenId id) {
  empty_ = false;
  first_bytes_.set(ByteAt(content, 0));
  if (content.size() == 1) {
    single_bytes_.set(ByteAt(content, 0));
  } else {
    first_pairs_.set(ByteAt(content, 0) * 256 + ByteAt(content, 1));
  }
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const auto fresh = static_cast<std::uint32_t>(token_of_node_.size());
    const std::uint64_t edge = std::uint64_t{node} * 256 + ByteAt(content, i);
    const auto [child, inserted] = children_.try_emplace(edge, fresh);
    if (inserted) token_of_node_.push_back(kNoToken);
    node = child->second;
  }
  token_of_node_[node] = id;
}

bool AddedTokenMatcher::MayStartAt(std::string_view text, std::size_t at) const {
  const std::size_t first = ByteAt(text, at);
  if (!first_bytes_[first]) return false;
  if (single_bytes_[first]) return true;
  return at + 1 < text.size() && first_pairs_[first * 256 + ByteAt(text, at + 1)];
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::LongestAt(std::string_view text,
                                                                     std::size_t at) const {
  std::optional<Match> longest;
  std::uint32_t node = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    const auto child = children_.find(std::uint64_t{node} * 256 + ByteAt(text, i));
    if (child == children_.end()) break;
    node = child->second;
    if (token_of_node_[node] != kNoToken) longest = {at, i + 1, token_of_node_[node]};
  }
  return longest;
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::Next(std::string_view text,
                                                                std::size_t from) const {
  if (empty_) return std::nullopt;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (!MayStartAt(text, at)) continue;
    if (const auto match = LongestAt(text, at)) return match;
  }
  return std::nullopt;
}

}  // namespace codegen::tokenizer
