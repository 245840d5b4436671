// SPDX-License-Identifier: Apache-2.0
//
// A whole tokenizer as immutable data: the text of every id, how text is cut, and how pieces become
// ids. Made by VocabularyBuilder, whatever the files were; used through Encode and Decode.
//
// Encoding takes four steps, each linear:
//   1. tokens of the first pass (control strings) are matched in the text, leftmost-longest;
//   2. tokens of the second pass (runs of white space, CodeGen2's masks) in what lies between;
//   3. what lies between those is cut into pieces by GPT-2's pattern (pretokenize.h);
//   4. a piece that is a token is that token, any other is merged byte pair by byte pair.
// Step 4's shortcut is not a guess: in merge order a token's own bytes need not merge into it, so
// the builder tries each token once and only those that do are in the table of whole pieces.
//
// Text that a user wrote must not become control tokens. So steps 1 and 2 exist twice, with all
// tokens and with those that are only spaces and tabs, which are ordinary text to these models.
#ifndef CODEGEN_TOKENIZER_VOCABULARY_H_
#define CODEGEN_TOKENIZER_VOCABULARY_H_

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codegen/request.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/piece_table.h"

namespace codegen::tokenizer {

// Which published vocabulary this is, recognised by its ids.
enum class Family { kGpt2, kCodeGen1, kCodeGen2, kCodeGen25, kByteLevelBpe };

// "gpt2", "codegen1", "codegen2", "codegen2.5" or "byte-level-bpe".
std::string_view FamilyName(Family family);

// How text between added tokens is cut into the pieces that merges do not cross.
enum class PieceSplit { kGpt2Pattern, kNone };

// Tokens matched in the text, in the order of the passes.
struct AddedTokenPasses {
  AddedTokenMatcher first;
  AddedTokenMatcher second;
};

// The texts of all ids, one after another.
class TokenTexts {
 public:
  // Appends the text of the next id; empty for an id without text.
  void Append(std::string_view text);
  // Returns the bytes of `id`, empty for an id without text or out of range.
  std::string_view operator[](TokenId id) const;
  int size() const { return static_cast<int>(ends_.size()); }

 private:
  std::string bytes_;
  std::vector<std::uint32_t> ends_;
};

// Immutable; safe for concurrent use.
class Vocabulary {
 public:
  struct Parts {
    TokenTexts texts;
    AddedTokenPasses all;
    AddedTokenPasses white_space;  // those of `all` that are only spaces and tabs
    PieceTable whole_pieces;
    ByteBpe bpe;
    PieceSplit split;
    Family family;
  };

  explicit Vocabulary(Parts parts) : parts_(std::move(parts)) {}

  // Returns the ids of `text`. Errors: INVALID_ARGUMENT (not UTF-8, with the offset; longer than
  // Limits::prompt_bytes).
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, AllowSpecial special) const;

  // Returns the text of `ids`, U+FFFD where bytes are not UTF-8. Added tokens, control tokens among
  // them, are their literal text; ids without text add nothing.
  std::string Decode(std::span<const TokenId> ids) const;

  // Returns the bytes of a token, which need not be UTF-8; empty for an id without text.
  std::string_view TextOf(TokenId id) const { return parts_.texts[id]; }

  // Returns the id whose text is `text`, by a linear search.
  std::optional<TokenId> Find(std::string_view text) const;

  // One more than the largest id with a text.
  int size() const { return parts_.texts.size(); }
  Family family() const { return parts_.family; }

 private:
  void EncodeSecondPass(std::string_view text, const AddedTokenMatcher& matcher,
                        std::vector<TokenId>& out) const;
  void EncodePieces(std::string_view text, std::vector<TokenId>& out) const;
  void EncodePiece(std::string_view piece, std::vector<TokenId>& out) const;

  Parts parts_;
};

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_VOCABULARY_H_
