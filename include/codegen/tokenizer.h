// SPDX-License-Identifier: Apache-2.0
//
// Text to token ids and back, exactly as the models were trained.
//
//   auto tokenizer = codegen::Tokenizer::Load("path/to/folder");
//   auto ids = tokenizer->Encode("def f(x):\n    return x");
//   // CodeGen1 and 2: 4299 277 7 87 2599 198 50284 7783 2124
//   std::string text = tokenizer->Decode(*ids);  // the same text again
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

// Turns token ids that arrive one by one into text that is always whole: a code point is delivered
// when its last byte has arrived, so at most three bytes are ever held back. The pieces, Finish's
// included, join to what Tokenizer::Decode returns for all ids.
//
// One owner; not safe for concurrent use. Keeps its vocabulary alive on its own.
class CODEGEN_EXPORT StreamDecoder {
 public:
  // For the library itself: hosts call Tokenizer::Stream. Requires: not null.
  explicit StreamDecoder(std::shared_ptr<const tokenizer::Vocabulary> vocabulary);

  // Returns the text that `id` completes: valid UTF-8, possibly empty, with U+FFFD for bytes that
  // nothing to come could make valid. Ids without text add nothing; control tokens add their
  // literal text.
  std::string Add(TokenId id);

  // Returns what is still held back, as one U+FFFD, or nothing; then the decoder starts afresh.
  std::string Finish();

 private:
  std::shared_ptr<const tokenizer::Vocabulary> vocabulary_;
  std::string pending_;
};

// An immutable tokenizer. Copies are cheap and share their vocabulary; all methods are const and
// safe to call from any number of threads.
class CODEGEN_EXPORT Tokenizer {
 public:
  // Reads the tokenizer in `folder`: tokenizer.json, or else vocab.json + merges.txt
  // (+ added_tokens.json), or GPT-2's own vocab.bpe or gpt2.tiktoken. Any byte-level BPE vocabulary
  // in one of the first two forms will do, published or not. Blocks while reading.
  // Errors: NOT_FOUND (saying which file to put where), PERMISSION_DENIED, DATA_LOSS (malformed),
  // INVALID_ARGUMENT (parts that contradict each other), RESOURCE_EXHAUSTED (a limit of Limits, by
  // name), UNIMPLEMENTED (a kind of tokenizer this library does not have, by name).
  static absl::StatusOr<Tokenizer> Load(const std::string& folder);

  // Builds CodeGen2.5's tokenizer, whose own folder ships Python code only, from any folder that
  // has GPT-2's, CodeGen1's or CodeGen2's. Model::Load does this by itself, with
  // LoadOptions::tokenizer_folder. Errors: as Load; INVALID_ARGUMENT if the folder has some other
  // vocabulary.
  static absl::StatusOr<Tokenizer> LoadCodeGen25(const std::string& gpt2_folder);

  // Returns the ids of `text`. No token is added at either end; empty text has no ids. With kNo,
  // the default, control strings in `text` are encoded as the characters they are. Linear time.
  // Errors: INVALID_ARGUMENT if `text` is not valid UTF-8 (with the offset) or longer than
  // Limits::prompt_bytes; RESOURCE_EXHAUSTED (memory).
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              AllowSpecial special = AllowSpecial::kNo) const;

  // Returns the text of `ids`: valid UTF-8, with U+FFFD for each maximal run of bytes that is not.
  // Control tokens are their literal text, `<|endoftext|>` included, so that
  // Decode(Encode(text)) == text whatever `text` is; ids without text add nothing.
  std::string Decode(std::span<const TokenId> ids) const;

  // Returns a decoder for tokens that arrive one by one. It may outlive this object.
  StreamDecoder Stream() const;

  // Returns one more than the largest id that has a text. The model's embedding may have more rows.
  int size() const;
  // Returns whether `id` has a text. False for any id out of range.
  bool Knows(TokenId id) const;
  // Returns the id of the token whose whole text is `token`, e.g. "<mask_1>", if there is one.
  std::optional<TokenId> Find(std::string_view token) const;
  // Returns the id of `<|endoftext|>`, if the vocabulary has it: what ends a completion.
  std::optional<TokenId> end_of_text() const;
  // Returns "gpt2" (CodeGen1 nl), "codegen1" (multi, mono), "codegen2", "codegen2.5" or
  // "byte-level-bpe" (any other vocabulary).
  std::string_view kind() const;

  // For the library itself: wraps a vocabulary. Requires: not null.
  explicit Tokenizer(std::shared_ptr<const tokenizer::Vocabulary> vocabulary);

 private:
  std::shared_ptr<const tokenizer::Vocabulary> vocabulary_;
};

}  // namespace codegen

#endif  // CODEGEN_TOKENIZER_H_
