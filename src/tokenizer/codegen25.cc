// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/codegen25.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tokenizer/gpt2_files.h"
#include "tokenizer/vocabulary_builder.h"

namespace codegen::tokenizer {
namespace {

// The ids after GPT-2's, in order: `<|endoftext|>`, runs of 31 to 2 spaces, runs of 9 to 2 tabs,
// these, and `<mask_881>` down to `<mask_1>`, which is 51199.
constexpr const char* kControlStrings[] = {
    "<fim_prefix>",     "<fim_middle>",    "<fim_suffix>",    "<fim_pad>",
    "<filename>",       "<gh_stars>",      "<issue_start>",   "<issue_comment>",
    "<issue_closed>",   "<jupyter_start>", "<jupyter_text>",  "<jupyter_code>",
    "<jupyter_output>", "<empty_output>",  "<commit_before>", "<commit_msg>",
    "<commit_after>",   "<reponame>",      "<dummy_0>",       "<dummy_1>",
    "<dummy_2>",        "<dummy_3>",       "<sep>",           "<eom>"};
constexpr std::size_t kLongestSpaces = 31;
constexpr std::size_t kLongestTabs = 9;
constexpr int kMasks = 881;

absl::Status AddWhiteSpace(std::int64_t& id, VocabularyBuilder& builder) {
  for (std::size_t n = kLongestSpaces; n >= 2; --n) {
    CODEGEN_RETURN_IF_ERROR(builder.AddPiece(std::string(n, ' '), id++));
  }
  for (std::size_t n = kLongestTabs; n >= 2; --n) {
    CODEGEN_RETURN_IF_ERROR(builder.AddPiece(std::string(n, '\t'), id++));
  }
  return absl::OkStatus();
}

absl::Status AddControlString(std::string content, std::int64_t id, VocabularyBuilder& builder) {
  return builder.AddAddedToken({.content = std::move(content),
                                .id = id,
                                .pass = AddedToken::Pass::kFirst,
                                .role = AddedToken::Role::kSpecial});
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Vocabulary>> CodeGen25Vocabulary(const Vocabulary& gpt2) {
  std::vector<std::string_view> pieces;
  for (TokenId id = 0; id < kGpt2Pieces; ++id) pieces.push_back(gpt2.TextOf(id));
  CODEGEN_RETURN_IF_ERROR(CheckGpt2Pieces(pieces, "tokenizer for CodeGen2.5"));

  VocabularyBuilder builder("CodeGen2.5");
  std::int64_t id = 0;
  for (const std::string_view piece : pieces)
    CODEGEN_RETURN_IF_ERROR(builder.AddPiece(piece, id++));
  const std::int64_t end_of_text = id++;
  CODEGEN_RETURN_IF_ERROR(AddWhiteSpace(id, builder));
  builder.set_whole_pieces(WholePieces::kFirst);
  CODEGEN_RETURN_IF_ERROR(builder.AddMergesByRank());

  CODEGEN_RETURN_IF_ERROR(AddControlString(std::string(kEndOfText), end_of_text, builder));
  for (const char* content : kControlStrings) {
    CODEGEN_RETURN_IF_ERROR(AddControlString(content, id++, builder));
  }
  for (int mask = kMasks; mask >= 1; --mask) {
    CODEGEN_RETURN_IF_ERROR(AddControlString(fmt::format("<mask_{}>", mask), id++, builder));
  }
  return builder.Build();
}

}  // namespace codegen::tokenizer
