// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/gpt2_files.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "base/json.h"
#include "base/quote.h"
#include "base/utf8.h"
#include "codegen/options.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/vocabulary_builder.h"

namespace codegen::tokenizer {
namespace {

// Of GPT-2's pieces, each preceded by its length: FNV-1a, 64 bits.
constexpr std::uint64_t kGpt2Fingerprint = 0xCB475F81E570C65CULL;

std::uint64_t Fingerprint(std::span<const std::string_view> pieces) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x100000001B3ULL; };
  for (const std::string_view piece : pieces) {
    add(static_cast<unsigned char>(piece.size()));
    for (const char byte : piece) add(static_cast<unsigned char>(byte));
  }
  return hash;
}

// Calls `read(line, number)` for each line, numbered from 1; stops at the first error and puts file
// and line before its message. Lines may end in CR LF; the last may lack its end, and empty lines
// may follow it.
absl::Status ForEachLine(std::string_view text, const std::string& name,
                         const std::function<absl::Status(std::string_view, int)>& read) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (const absl::Status status = read(line, number); !status.ok()) {
      return absl::Status(status.code(), fmt::format("{}: line {}: {}", name, number,
                                                     std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadText(const std::string& folder, const std::string& name) {
  CODEGEN_ASSIGN_OR_RETURN(std::string text,
                           base::ReadFile(base::JoinPath(folder, name), Limits::tokenizer_bytes));
  if (const auto invalid = base::FindInvalidUtf8(text)) {
    return absl::DataLossError(fmt::format("{}: not UTF-8 at byte {}", name, *invalid));
  }
  return text;
}

using MergeReader = std::function<absl::Status(std::string_view left, std::string_view right)>;

// Reads merges.txt or vocab.bpe: an optional first line `#version...`, then "a b".
absl::Status ForEachMerge(const std::string& folder, const std::string& name,
                          const MergeReader& read) {
  CODEGEN_ASSIGN_OR_RETURN(const std::string text, ReadText(folder, name));
  return ForEachLine(text, name, [&](std::string_view line, int number) -> absl::Status {
    if (number == 1 && line.starts_with("#version")) return absl::OkStatus();
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string_view::npos) {
      return absl::DataLossError(
          fmt::format("expected two tokens and one space, found {}", base::Quote(line)));
    }
    return read(line.substr(0, space), line.substr(space + 1));
  });
}

absl::Status ForEachId(const std::string& folder, const std::string& name,
                       const std::function<absl::Status(std::string_view, std::int64_t)>& read) {
  CODEGEN_ASSIGN_OR_RETURN(
      const base::JsonDocument document,
      base::JsonDocument::Read(base::JoinPath(folder, name), Limits::tokenizer_bytes));
  for (const auto& [token, value] : document.root()) {
    std::int64_t id = 0;
    if (value.get(id)) {
      return absl::DataLossError(fmt::format("{}: id of {}: expected an integer, found {}", name,
                                             base::Quote(token), base::JsonTypeName(value)));
    }
    CODEGEN_RETURN_IF_ERROR(read(token, id));
  }
  return absl::OkStatus();
}

AddedToken EndOfText(std::int64_t id) {
  return {.content = std::string(kEndOfText),
          .id = id,
          .pass = AddedToken::Pass::kFirst,
          .role = AddedToken::Role::kSpecial};
}

// The files do not say which tokens are control tokens: `<|endoftext|>` is, wherever it stands, and
// the others match after it.
absl::Status AddAddedTokens(const std::string& folder, std::optional<std::int64_t> end_of_text,
                            VocabularyBuilder& builder) {
  if (end_of_text) CODEGEN_RETURN_IF_ERROR(builder.AddAddedToken(EndOfText(*end_of_text)));
  if (!base::Exists(base::JoinPath(folder, "added_tokens.json"))) return absl::OkStatus();
  return ForEachId(folder, "added_tokens.json", [&](std::string_view token, std::int64_t id) {
    if (token == kEndOfText && id == end_of_text) return absl::OkStatus();
    if (token == kEndOfText) return builder.AddAddedToken(EndOfText(id));
    return builder.AddAddedToken({.content = std::string(token), .id = id});
  });
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> ReadVocabularyAndMerges(
    const std::string& folder, const std::string& vocabulary, const std::string& merges) {
  VocabularyBuilder builder(vocabulary);
  std::optional<std::int64_t> end_of_text;
  CODEGEN_RETURN_IF_ERROR(
      ForEachId(folder, vocabulary, [&](std::string_view token, std::int64_t id) {
        if (token == kEndOfText) end_of_text = id;
        return builder.AddSpelledPiece(token, id);
      }));
  CODEGEN_RETURN_IF_ERROR(
      ForEachMerge(folder, merges, [&](std::string_view left, std::string_view right) {
        return builder.AddSpelledMerge(left, right);
      }));
  CODEGEN_RETURN_IF_ERROR(AddAddedTokens(folder, end_of_text, builder));
  return builder.Build();
}

// The bytes in the order of the characters that spell them: those that spell themselves, then the
// other 68.
std::vector<std::string> BytesInAlphabetOrder() {
  std::vector<std::string> bytes;
  for (char32_t character = 0; character < 0x144; ++character) {
    std::string spelled;
    base::AppendUtf8(character, spelled);
    if (auto byte = BytesOfSpelling(spelled)) bytes.push_back(*std::move(byte));
  }
  return bytes;
}

absl::Status AddGpt2Pieces(const std::vector<std::string>& pieces, const std::string& source,
                           VocabularyBuilder& builder) {
  CODEGEN_RETURN_IF_ERROR(
      CheckGpt2Pieces(std::vector<std::string_view>(pieces.begin(), pieces.end()), source));
  std::int64_t id = 0;
  for (const std::string& piece : pieces) CODEGEN_RETURN_IF_ERROR(builder.AddPiece(piece, id++));
  return builder.AddAddedToken(EndOfText(id));
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> ReadVocabBpe(const std::string& folder) {
  const std::string name = "vocab.bpe";
  std::vector<std::string> pieces = BytesInAlphabetOrder();
  CODEGEN_RETURN_IF_ERROR(
      ForEachMerge(folder, name, [&](std::string_view left, std::string_view right) {
        auto piece = BytesOfSpelling(std::string(left).append(right));
        if (!piece) return absl::DataLossError("not spelled in the byte alphabet");
        pieces.push_back(*std::move(piece));
        return absl::OkStatus();
      }));
  VocabularyBuilder builder(name);
  CODEGEN_RETURN_IF_ERROR(AddGpt2Pieces(pieces, name, builder));
  CODEGEN_RETURN_IF_ERROR(
      ForEachMerge(folder, name, [&](std::string_view left, std::string_view right) {
        return builder.AddSpelledMerge(left, right);
      }));
  return builder.Build();
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char digit : text) {
    const std::size_t value = kDigits.find(digit);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes.push_back(static_cast<char>(bits >> held & 0xFF));
  }
  return bytes;
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> ReadTiktoken(const std::string& folder) {
  const std::string name = "gpt2.tiktoken";
  CODEGEN_ASSIGN_OR_RETURN(const std::string text, ReadText(folder, name));
  std::vector<std::string> pieces;
  CODEGEN_RETURN_IF_ERROR(ForEachLine(text, name, [&](std::string_view line, int) {
    const std::size_t space = line.find(' ');
    auto bytes = DecodeBase64(line.substr(0, space));
    std::size_t rank = 0;
    if (space != std::string_view::npos) {
      std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
    }
    if (!bytes || space == std::string_view::npos || rank != pieces.size()) {
      return absl::DataLossError(fmt::format("expected base64 and the rank {}", pieces.size()));
    }
    pieces.push_back(*std::move(bytes));
    return absl::OkStatus();
  }));
  VocabularyBuilder builder(name);
  CODEGEN_RETURN_IF_ERROR(AddGpt2Pieces(pieces, name, builder));
  builder.set_whole_pieces(WholePieces::kFirst);
  CODEGEN_RETURN_IF_ERROR(builder.AddMergesByRank());
  return builder.Build();
}

// Returns the first of `names` that is in `folder`.
std::optional<std::string> FirstIn(const std::string& folder,
                                   std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (base::Exists(base::JoinPath(folder, name))) return name;
  }
  return std::nullopt;
}

}  // namespace

bool HasGpt2Files(const std::string& folder) {
  return FirstIn(folder, {"vocab.json", "encoder.json", "merges.txt", "vocab.bpe", "gpt2.tiktoken"})
      .has_value();
}

std::vector<std::string> Gpt2Files(const std::string& folder) {
  const auto vocabulary = FirstIn(folder, {"vocab.json", "encoder.json"});
  const auto merges = FirstIn(folder, {"merges.txt", "vocab.bpe"});
  if (vocabulary && merges) {
    std::vector<std::string> files = {*vocabulary, *merges};
    if (const auto added = FirstIn(folder, {"added_tokens.json"})) files.push_back(*added);
    return files;
  }
  const auto alone = merges == "vocab.bpe" ? merges : FirstIn(folder, {"gpt2.tiktoken"});
  return alone ? std::vector<std::string>{*alone} : std::vector<std::string>{};
}

std::vector<std::string> Gpt2FileNames() {
  return {"vocab.json", "encoder.json",  "merges.txt",
          "vocab.bpe",  "gpt2.tiktoken", "added_tokens.json"};
}

absl::Status CheckGpt2Pieces(std::span<const std::string_view> pieces, const std::string& source) {
  if (pieces.size() == kGpt2Pieces && Fingerprint(pieces) == kGpt2Fingerprint)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: not GPT-2's vocabulary of {} pieces", source, kGpt2Pieces));
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> ReadGpt2Files(const std::string& folder) {
  const auto vocabulary = FirstIn(folder, {"vocab.json", "encoder.json"});
  const auto merges = FirstIn(folder, {"merges.txt", "vocab.bpe"});
  if (vocabulary && merges) return ReadVocabularyAndMerges(folder, *vocabulary, *merges);
  if (merges == "vocab.bpe") return ReadVocabBpe(folder);
  if (FirstIn(folder, {"gpt2.tiktoken"})) return ReadTiktoken(folder);
  if (vocabulary) {
    return absl::NotFoundError(
        fmt::format("folder \"{}\" has {} but not merges.txt: put merges.txt of the same tokenizer "
                    "beside it",
                    folder, *vocabulary));
  }
  return absl::NotFoundError(
      fmt::format("folder \"{}\" has merges.txt but not vocab.json: put vocab.json of the same "
                  "tokenizer beside it",
                  folder));
}

}  // namespace codegen::tokenizer
