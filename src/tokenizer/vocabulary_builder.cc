// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/vocabulary_builder.h"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/quote.h"
#include "codegen/options.h"
#include "tokenizer/byte_alphabet.h"

namespace codegen::tokenizer {
namespace {

static_assert(Limits::token_bytes <= 0xFFFF);  // ByteBpe keeps sizes in 16 bits

// What a message shows of a token: its start, in the byte alphabet, so that it is always printable.
std::string Shown(std::string_view bytes) {
  const std::string spelled = SpellingOfBytes(bytes.substr(0, 40));
  return bytes.size() > 40 ? spelled + "..." : spelled;
}

absl::Status NotInVocabulary(std::string_view spelled) {
  const auto bytes = BytesOfSpelling(spelled);
  return absl::InvalidArgumentError(
      fmt::format("{} is not in the vocabulary",
                  bytes ? fmt::format("\"{}\"", Shown(*bytes)) : base::Quote(spelled)));
}

bool IsWhiteSpaceRun(std::string_view text) {
  return text.find_first_not_of(" \t") == std::string_view::npos;
}

}  // namespace

absl::Status VocabularyBuilder::CheckNewToken(std::string_view text, std::int64_t id) const {
  if (text.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: the token of id {} is empty", source_, id));
  }
  if (text.size() > Limits::token_bytes) {
    return absl::ResourceExhaustedError(fmt::format("{}: token of id {}: {} bytes, limit {}",
                                                    source_, id, text.size(), Limits::token_bytes));
  }
  if (id < 0 || id >= Limits::vocabulary) {
    return absl::InvalidArgumentError(fmt::format("{}: token \"{}\": id {}, expected 0 to {}",
                                                  source_, Shown(text), id,
                                                  Limits::vocabulary - 1));
  }
  return absl::OkStatus();
}

VocabularyBuilder::Entry& VocabularyBuilder::EntryOf(std::int64_t id) {
  const auto at = static_cast<std::size_t>(id);
  if (at >= entries_.size()) entries_.resize(at + 1);
  return entries_[at];
}

absl::Status VocabularyBuilder::AddPiece(std::string_view bytes, std::int64_t id) {
  CODEGEN_RETURN_IF_ERROR(CheckNewToken(bytes, id));
  Entry& entry = EntryOf(id);
  if (!entry.text.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: id {} is both \"{}\" and \"{}\"", source_,
                                                  id, Shown(entry.text), Shown(bytes)));
  }
  switch (ids_.Insert(bytes, static_cast<TokenId>(id))) {
    case PieceTable::Inserted::kYes:
      entry = {.text = std::string(bytes), .is_piece = true};
      return absl::OkStatus();
    case PieceTable::Inserted::kPresent:
      return absl::InvalidArgumentError(
          fmt::format("{}: token \"{}\" appears twice", source_, Shown(bytes)));
    case PieceTable::Inserted::kCrowded:
      break;
  }
  return absl::ResourceExhaustedError(fmt::format("{}: too many tokens share a hash", source_));
}

absl::Status VocabularyBuilder::AddSpelledPiece(std::string_view spelled, std::int64_t id) {
  if (const auto bytes = BytesOfSpelling(spelled)) return AddPiece(*bytes, id);
  CODEGEN_RETURN_IF_ERROR(CheckNewToken(spelled, id));
  Entry& entry = EntryOf(id);
  if (!entry.text.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: id {} is both \"{}\" and \"{}\"", source_,
                                                  id, Shown(entry.text), Shown(spelled)));
  }
  entry = {.text = std::string(spelled)};
  return absl::OkStatus();
}

absl::Status VocabularyBuilder::AddSpelledMerge(std::string_view left, std::string_view right) {
  if (merges_.size() >= PairRanks::kNone) {
    return absl::ResourceExhaustedError(fmt::format("more than {} merges", PairRanks::kNone));
  }
  const auto left_bytes = BytesOfSpelling(left);
  const auto left_id = left_bytes ? ids_.Find(*left_bytes) : std::nullopt;
  if (!left_id) return NotInVocabulary(left);
  const auto right_bytes = BytesOfSpelling(right);
  const auto right_id = right_bytes ? ids_.Find(*right_bytes) : std::nullopt;
  if (!right_id) return NotInVocabulary(right);
  const auto result = ids_.Find(*left_bytes + *right_bytes);
  if (!result) return NotInVocabulary(fmt::format("{}{}", left, right));
  merges_.push_back({*left_id, *right_id, *result, ranks_++});
  return absl::OkStatus();
}

absl::Status VocabularyBuilder::AddMergesByRank() {
  CODEGEN_DCHECK(merges_.empty());
  ranks_ = static_cast<std::uint32_t>(entries_.size());
  for (std::uint32_t rank = 0; rank < ranks_; ++rank) {
    if (!entries_[rank].is_piece) continue;
    const std::string_view whole = entries_[rank].text;
    for (std::size_t cut = 1; cut < whole.size(); ++cut) {
      const auto left = ids_.Find(whole.substr(0, cut));
      if (!left) continue;
      const auto right = ids_.Find(whole.substr(cut));
      if (!right) continue;
      merges_.push_back({*left, *right, static_cast<TokenId>(rank), rank});
    }
  }
  return absl::OkStatus();
}

absl::Status VocabularyBuilder::AddAddedToken(const AddedToken& token) {
  CODEGEN_RETURN_IF_ERROR(CheckNewToken(token.content, token.id));
  const auto id = static_cast<TokenId>(token.id);
  if (const auto piece = ids_.Find(token.content); piece && *piece != id) {
    return absl::InvalidArgumentError(
        fmt::format("{}: added token \"{}\": id {}, but {} as a piece", source_,
                    Shown(token.content), id, *piece));
  }
  switch (added_ids_.Insert(token.content, id)) {
    case PieceTable::Inserted::kYes:
      break;
    case PieceTable::Inserted::kPresent:
      return absl::InvalidArgumentError(
          fmt::format("{}: added token \"{}\" appears twice", source_, Shown(token.content)));
    case PieceTable::Inserted::kCrowded:
      return absl::ResourceExhaustedError(fmt::format("{}: too many tokens share a hash", source_));
  }
  Entry& entry = EntryOf(token.id);
  if (!entry.text.empty() && (entry.is_added || entry.text != token.content)) {
    return absl::InvalidArgumentError(fmt::format("{}: id {} is both \"{}\" and \"{}\"", source_,
                                                  id, Shown(entry.text), Shown(token.content)));
  }
  entry.text = token.content;
  entry.is_added = true;
  entry.is_special = token.role == AddedToken::Role::kSpecial;
  added_.push_back(token);
  return absl::OkStatus();
}

// A control token is only what somebody added, and never white space or a single byte, which are
// ordinary text.
bool VocabularyBuilder::IsControl(const Entry& entry) const {
  return entry.is_added && entry.text.size() > 1 && !IsWhiteSpaceRun(entry.text);
}

absl::StatusOr<ByteBpe> VocabularyBuilder::BuildBpe() const {
  std::array<TokenId, 256> byte_ids{};
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    const auto id = ids_.Find(std::string_view(&text, 1));
    if (!id) {
      return absl::InvalidArgumentError(
          fmt::format("{}: byte 0x{:02X} has no token", source_, byte));
    }
    byte_ids[static_cast<std::size_t>(byte)] = *id;
  }
  PairRanks ranks(merges_.size());
  std::vector<TokenId> result_of_rank(ranks_, 0);
  for (const Merge& merge : merges_) {
    const Entry& result = entries_[static_cast<std::size_t>(merge.result)];
    if (result.is_special) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: special token \"{}\" is the result of a merge, so that ordinary text could "
          "become it",
          source_, Shown(result.text)));
    }
    switch (ranks.Insert(merge.left, merge.right, merge.rank)) {
      case PairRanks::Inserted::kYes:
        break;
      case PairRanks::Inserted::kPresent:
        return absl::InvalidArgumentError(fmt::format(
            "{}: the merge that makes \"{}\" appears twice", source_, Shown(result.text)));
      case PairRanks::Inserted::kCrowded:
        return absl::ResourceExhaustedError(
            fmt::format("{}: too many merges share a hash", source_));
    }
    result_of_rank[merge.rank] = merge.result;
  }
  std::vector<std::uint16_t> size_of_id;
  for (const Entry& entry : entries_) {
    size_of_id.push_back(static_cast<std::uint16_t>(entry.text.size()));
  }
  return ByteBpe(byte_ids, std::move(ranks), std::move(result_of_rank), std::move(size_of_id));
}

absl::StatusOr<PieceTable> VocabularyBuilder::BuildWholePieces(const ByteBpe& bpe) const {
  PieceTable table;
  std::vector<TokenId> merged;
  for (std::size_t at = 0; at < entries_.size(); ++at) {
    const Entry& entry = entries_[at];
    if (!entry.is_piece) continue;
    const auto id = static_cast<TokenId>(at);
    if (whole_pieces_ == WholePieces::kFirst) {
      if (IsControl(entry)) continue;
    } else {
      merged.clear();
      bpe.Encode(entry.text, merged);
      if (merged != std::vector<TokenId>{id}) continue;
    }
    if (table.Insert(entry.text, id) != PieceTable::Inserted::kYes) {
      return absl::ResourceExhaustedError(fmt::format("{}: too many tokens share a hash", source_));
    }
  }
  return table;
}

bool VocabularyBuilder::HasText(TokenId id, std::string_view text) const {
  const auto at = static_cast<std::size_t>(id);
  return at < entries_.size() && entries_[at].text == text;
}

Family VocabularyBuilder::RecogniseFamily() const {
  if (!HasText(50256, "<|endoftext|>") || !HasText(220, " ") || !HasText(50255, " gazed")) {
    return Family::kByteLevelBpe;
  }
  if (HasText(50317, "<sep>") && HasText(50286, "  ")) return Family::kCodeGen25;
  if (HasText(50299, "<sep>") && HasText(50286, "  ")) return Family::kCodeGen2;
  if (HasText(50286, "  ") && entries_.size() == 50295) return Family::kCodeGen1;
  return entries_.size() == 50257 ? Family::kGpt2 : Family::kByteLevelBpe;
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> VocabularyBuilder::Build() {
  CODEGEN_ASSIGN_OR_RETURN(ByteBpe bpe, BuildBpe());
  CODEGEN_ASSIGN_OR_RETURN(PieceTable whole_pieces, BuildWholePieces(bpe));
  Vocabulary::Parts parts{.texts = {},
                          .all = {},
                          .white_space = {},
                          .whole_pieces = std::move(whole_pieces),
                          .bpe = std::move(bpe),
                          .split = split_,
                          .family = RecogniseFamily()};
  for (const Entry& entry : entries_) parts.texts.Append(entry.text);
  for (const AddedToken& token : added_) {
    const auto id = static_cast<TokenId>(token.id);
    const bool first = token.pass == AddedToken::Pass::kFirst;
    (first ? parts.all.first : parts.all.second).Add(token.content, id);
    if (!IsWhiteSpaceRun(token.content)) continue;
    (first ? parts.white_space.first : parts.white_space.second).Add(token.content, id);
  }
  return std::make_shared<const Vocabulary>(std::move(parts));
}

}  // namespace codegen::tokenizer
