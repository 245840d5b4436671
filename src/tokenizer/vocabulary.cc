// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/vocabulary.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "codegen/options.h"
#include "tokenizer/pretokenize.h"

namespace codegen::tokenizer {
namespace {

// Calls `token` for each match and `text` for each non-empty stretch between them, in order.
template <typename Text, typename Token>
void ForEachStretch(std::string_view all, const AddedTokenMatcher& matcher, Text text,
                    Token token) {
  std::size_t at = 0;
  while (const auto match = matcher.Next(all, at)) {
    if (match->begin > at) text(all.substr(at, match->begin - at));
    token(match->id);
    at = match->end;
  }
  if (at < all.size()) text(all.substr(at));
}

}  // namespace

std::string_view FamilyName(Family family) {
  switch (family) {
    case Family::kGpt2:
      return "gpt2";
    case Family::kCodeGen1:
      return "codegen1";
    case Family::kCodeGen2:
      return "codegen2";
    case Family::kCodeGen25:
      return "codegen2.5";
    case Family::kByteLevelBpe:
      return "byte-level-bpe";
  }
  return "";
}

void TokenTexts::Append(std::string_view text) {
  bytes_.append(text);
  ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
}

std::string_view TokenTexts::operator[](TokenId id) const {
  if (id < 0 || id >= size()) return {};
  const auto at = static_cast<std::size_t>(id);
  const std::size_t begin = at == 0 ? 0 : ends_[at - 1];
  return std::string_view(bytes_).substr(begin, ends_[at] - begin);
}

absl::StatusOr<std::vector<TokenId>> Vocabulary::Encode(std::string_view text,
                                                        AllowSpecial special) const {
  if (text.size() > Limits::prompt_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("text: {} bytes, limit {}", text.size(), Limits::prompt_bytes));
  }
  if (const auto invalid = base::FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(fmt::format("text: not UTF-8 at byte {}", *invalid));
  }
  const AddedTokenPasses& added = special == AllowSpecial::kYes ? parts_.all : parts_.white_space;
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 4 + 1);
  ForEachStretch(
      text, added.first,
      [&](std::string_view stretch) { EncodeSecondPass(stretch, added.second, ids); },
      [&](TokenId id) { ids.push_back(id); });
  return ids;
}

void Vocabulary::EncodeSecondPass(std::string_view text, const AddedTokenMatcher& matcher,
                                  std::vector<TokenId>& out) const {
  ForEachStretch(
      text, matcher, [&](std::string_view stretch) { EncodePieces(stretch, out); },
      [&](TokenId id) { out.push_back(id); });
}

void Vocabulary::EncodePieces(std::string_view text, std::vector<TokenId>& out) const {
  if (parts_.split == PieceSplit::kNone) return EncodePiece(text, out);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = PieceEnd(text, begin);
    EncodePiece(text.substr(begin, end - begin), out);
    begin = end;
  }
}

void Vocabulary::EncodePiece(std::string_view piece, std::vector<TokenId>& out) const {
  if (const auto whole = parts_.whole_pieces.Find(piece)) {
    out.push_back(*whole);
  } else {
    parts_.bpe.Encode(piece, out);
  }
}

std::string Vocabulary::Decode(std::span<const TokenId> ids) const {
  std::string bytes;
  for (const TokenId id : ids) bytes.append(TextOf(id));
  return base::ToValidUtf8(std::move(bytes));
}

std::optional<TokenId> Vocabulary::Find(std::string_view text) const {
  if (text.empty()) return std::nullopt;
  for (TokenId id = 0; id < size(); ++id) {
    if (TextOf(id) == text) return id;
  }
  return std::nullopt;
}

}  // namespace codegen::tokenizer
