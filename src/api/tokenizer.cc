// SPDX-License-Identifier: Apache-2.0
#include "codegen/tokenizer.h"

#include <utility>

#include "base/check.h"
#include "base/no_memory.h"
#include "tokenizer/gpt2_files.h"
#include "tokenizer/load_tokenizer.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/vocabulary.h"

namespace codegen {

StreamDecoder::StreamDecoder(std::shared_ptr<const tokenizer::Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)) {}

std::string StreamDecoder::Add(TokenId id) {
  return tokenizer::AddToken(*vocabulary_, id, pending_);
}

std::string StreamDecoder::Finish() { return tokenizer::FlushText(pending_); }

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::string& folder) {
  return base::OrNoMemory("no memory for the tokenizer", [&]() -> absl::StatusOr<Tokenizer> {
    CODEGEN_ASSIGN_OR_RETURN(auto vocabulary, tokenizer::LoadTokenizer(folder));
    return Tokenizer(std::move(vocabulary));
  });
}

absl::StatusOr<Tokenizer> Tokenizer::LoadCodeGen25(const std::string& gpt2_folder) {
  return base::OrNoMemory("no memory for the tokenizer", [&]() -> absl::StatusOr<Tokenizer> {
    CODEGEN_ASSIGN_OR_RETURN(auto vocabulary, tokenizer::LoadCodeGen25Tokenizer(gpt2_folder));
    return Tokenizer(std::move(vocabulary));
  });
}

Tokenizer::Tokenizer(std::shared_ptr<const tokenizer::Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)) {}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text,
                                                       AllowSpecial special) const {
  return base::OrNoMemory("no memory for the tokens",
                          [&] { return vocabulary_->Encode(text, special); });
}

std::string Tokenizer::Decode(std::span<const TokenId> ids) const {
  return vocabulary_->Decode(ids);
}

StreamDecoder Tokenizer::Stream() const { return StreamDecoder(vocabulary_); }

int Tokenizer::size() const { return vocabulary_->size(); }

bool Tokenizer::Knows(TokenId id) const { return !vocabulary_->TextOf(id).empty(); }

std::optional<TokenId> Tokenizer::Find(std::string_view token) const {
  return vocabulary_->Find(token);
}

std::optional<TokenId> Tokenizer::end_of_text() const {
  return vocabulary_->Find(tokenizer::kEndOfText);
}

std::string_view Tokenizer::kind() const { return tokenizer::FamilyName(vocabulary_->family()); }

}  // namespace codegen
