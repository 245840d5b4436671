// SPDX-License-Identifier: Apache-2.0
//
// Text to token ids and back, exactly as the models were trained.
//
//   auto tokenizer = codegen::Tokenizer::Load("path/to/folder");
//   auto ids = tokenizer->Encode("def f(x):\n    return x");      // 4299 277 7 87 2599 198 50284
//   7783 2124 std::string text = tokenizer->Decode(*ids);
#ifndef CODEGEN_TOKENIZER_H_
#define CODEGEN_TOKENIZER_H_

#include <absl/status/statusor.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/export.h"
#include "codegen/request.h"

namespace codegen {

namespace tokenizer {
class Vocabulary;
}

// Turns a stream of token ids into text that is always whole: a code point is delivered when its
// last byte has arrived. One owner; not safe for concurrent use. Shares ownership of its
// vocabulary.
class CODEGEN_EXPORT StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const tokenizer::Vocabulary> vocabulary);
  // Returns the text that `id` completes, possibly empty. Ids without text add nothing.
  std::string Add(TokenId id);
  // Returns what is still held back, as U+FFFD if it is not a whole code point, and starts afresh.
  std::string Finish();

 private:
  std::shared_ptr<const tokenizer::Vocabulary> vocabulary_;
  std::string pending_;
};

// An immutable tokenizer. Copies share state; all methods are const and safe to call from any
// number of threads.
class CODEGEN_EXPORT Tokenizer {
 public:
  // Reads tokenizer.json, or vocab.json + merges.txt (+ added_tokens.json), from `folder`. For a
  // CodeGen2.5 folder see LoadOptions::tokenizer_folder, which Model::Load passes on. Errors:
  // NOT_FOUND (saying which file to put where), DATA_LOSS (malformed), INVALID_ARGUMENT
  // (contradictory), UNIMPLEMENTED (a kind of tokenizer this library does not know).
  static absl::StatusOr<Tokenizer> Load(const std::string& folder);

  // Returns the ids of `text`. No token is added at either end; empty text has no ids. Runs in
  // linear time. Errors: INVALID_ARGUMENT if `text` is not valid UTF-8 (with the offset) or longer
  // than Limits::prompt_bytes.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              AllowSpecial special = AllowSpecial::kNo) const;

  // Returns the text of `ids`; bytes that are not UTF-8 become U+FFFD, ids without text add
  // nothing.
  std::string Decode(std::span<const TokenId> ids) const;

  // Returns a decoder for tokens that arrive one by one.
  StreamDecoder Stream() const;

  // Returns one more than the largest id that has a text. The model's embedding may have more rows.
  int size() const;
  // Returns whether `id` has a text (or is a control token) in this vocabulary.
  bool Knows(TokenId id) const;
  // Returns the id of a whole token given as text, e.g. "<|endoftext|>", if there is one.
  std::optional<TokenId> Find(std::string_view token) const;
  // Returns the id of `<|endoftext|>`, if the vocabulary has it.
  std::optional<TokenId> end_of_text() const;
  // Returns "gpt2", "codegen1", "codegen2", "codegen2.5" or "byte-level-bpe".
  std::string_view kind() const;

  // For the library itself: wraps a vocabulary.
  explicit Tokenizer(std::shared_ptr<const tokenizer::Vocabulary> vocabulary);

 private:
  std::shared_ptr<const tokenizer::Vocabulary> vocabulary_;
};

}  // namespace codegen

#endif  // CODEGEN_TOKENIZER_H_
