// SPDX-License-Identifier: Apache-2.0
//
// From the contents of some tokenizer file to a Vocabulary, refusing what does not fit together.
// Readers of files know formats; this knows relations:
//
// - ids are below Limits::vocabulary, each given once; texts are not empty, not longer than
//   Limits::token_bytes, and each stands once;
// - every byte has a token, so that every text has an encoding;
// - both parts and the result of a merge are tokens, and no pair is listed twice;
// - no merge makes a special token, so that ordinary text cannot become one.
//
// The order of calls is: pieces, then merges and added tokens, then Build.
#ifndef CODEGEN_TOKENIZER_VOCABULARY_BUILDER_H_
#define CODEGEN_TOKENIZER_VOCABULARY_BUILDER_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codegen/request.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/piece_table.h"
#include "tokenizer/vocabulary.h"

namespace codegen::tokenizer {

// A token that is matched in the text itself.
struct AddedToken {
  enum class Pass { kFirst, kSecond };  // "normalized": false or true, in tokenizer.json's words
  enum class Role { kOrdinary, kSpecial };
  std::string content;
  std::int64_t id = 0;
  Pass pass = Pass::kSecond;
  Role role = Role::kOrdinary;
};

// Whether a piece that is a token as a whole becomes it without regard to merges.
enum class WholePieces { kByMerges, kFirst };

class VocabularyBuilder {
 public:
  // `source` is the file that messages show.
  explicit VocabularyBuilder(std::string source) : source_(std::move(source)) {}

  // Adds a token that pieces of text may become.
  absl::Status AddPiece(std::string_view bytes, std::int64_t id);
  // The same, spelled in the byte alphabet; a token with other characters has a text but is never
  // the result of merges.
  absl::Status AddSpelledPiece(std::string_view spelled, std::int64_t id);

  // Adds the next merge, in order of preference. Messages do not say where it stands: the reader
  // knows.
  absl::Status AddSpelledMerge(std::string_view left, std::string_view right);
  // Adds, as tiktoken does, every merge of two tokens whose bytes together are a token, ranked by
  // the result's id. Requires: no other merges. Time: the sum of the squares of the lengths.
  absl::Status AddMergesByRank();

  absl::Status AddAddedToken(const AddedToken& token);

  void set_split(PieceSplit split) { split_ = split; }
  void set_whole_pieces(WholePieces whole_pieces) { whole_pieces_ = whole_pieces; }

  // Errors: those above.
  absl::StatusOr<std::shared_ptr<const Vocabulary>> Build();

 private:
  struct Entry {
    std::string text;
    bool is_piece = false;
    bool is_added = false;
    bool is_special = false;
  };

  absl::Status CheckNewToken(std::string_view text, std::int64_t id) const;
  Entry& EntryOf(std::int64_t id);
  absl::StatusOr<ByteBpe> BuildBpe() const;
  absl::StatusOr<PieceTable> BuildWholePieces(const ByteBpe& bpe) const;
  bool IsControl(const Entry& entry) const;
  Family RecogniseFamily() const;
  bool HasText(TokenId id, std::string_view text) const;

  std::string source_;
  std::vector<Entry> entries_;  // [ids]
  PieceTable ids_;              // of pieces
  PieceTable added_ids_;
  std::vector<AddedToken> added_;
  std::vector<Merge> merges_;
  std::uint32_t ranks_ = 0;  // one more than the largest of merges_
  PieceSplit split_ = PieceSplit::kGpt2Pattern;
  WholePieces whole_pieces_ = WholePieces::kByMerges;
};

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_VOCABULARY_BUILDER_H_
