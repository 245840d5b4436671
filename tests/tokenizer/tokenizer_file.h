// SPDX-License-Identifier: Apache-2.0
//
// Small tokenizers made by hand, so that the tests need no published file: the 256 bytes in the
// order of GPT-2's alphabet, a few merges, a few added tokens. Every part can be replaced by a
// broken one.
#ifndef CODEGEN_TESTS_TOKENIZER_TOKENIZER_FILE_H_
#define CODEGEN_TESTS_TOKENIZER_TOKENIZER_FILE_H_

#include <absl/status/statusor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer_json.h"

namespace codegen::tokenizer {

struct SpelledToken {
  std::string spelled;
  std::int64_t id;
};

// The bytes, each with its value as id.
inline std::vector<SpelledToken> ByteTokens() {
  std::vector<SpelledToken> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back({SpellingOfBytes(std::string(1, static_cast<char>(byte))), byte});
  }
  return tokens;
}

inline std::string JsonString(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted.push_back('\\');
    if (c == '\t') {
      quoted.append("\\t");
    } else {
      quoted.push_back(c);
    }
  }
  return quoted + "\"";
}

// tokenizer.json in parts; each string is JSON.
struct TokenizerFile {
  std::vector<SpelledToken> vocabulary = ByteTokens();
  std::vector<std::string> merges;
  std::vector<std::string> added_tokens;
  std::string normalizer = "null";
  std::string pre_tokenizer =
      R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})";
  std::string post_processor = R"({"type": "ByteLevel", "add_prefix_space": true})";
  std::string decoder = R"({"type": "ByteLevel"})";
  std::string model_options = R"("type": "BPE", "dropout": null, "unk_token": null)";
  std::string more = R"("truncation": null, "padding": null)";

  // Adds the merge "left right" and the token that it makes, with the next id.
  TokenizerFile& Merge(const std::string& left, const std::string& right) {
    vocabulary.push_back({left + right, static_cast<std::int64_t>(vocabulary.size())});
    merges.push_back(JsonString(left + " " + right));
    return *this;
  }

  TokenizerFile& Added(const std::string& content, std::int64_t id, bool special, bool normalized) {
    added_tokens.push_back(
        fmt::format(R"({{"id": {}, "content": {}, "single_word": false, "lstrip": false, )"
                    R"("rstrip": false, "normalized": {}, "special": {}}})",
                    id, JsonString(content), normalized, special));
    return *this;
  }

  std::string Json() const {
    std::vector<std::string> entries;
    for (const SpelledToken& token : vocabulary) {
      entries.push_back(fmt::format("{}: {}", JsonString(token.spelled), token.id));
    }
    return fmt::format(
        R"({{"version": "1.0", {}, "added_tokens": [{}], "normalizer": {}, "pre_tokenizer": {}, )"
        R"("post_processor": {}, "decoder": {}, "model": {{{}, "vocab": {{{}}}, "merges": [{}]}}}})",
        more, fmt::join(added_tokens, ","), normalizer, pre_tokenizer, post_processor, decoder,
        model_options, fmt::join(entries, ","), fmt::join(merges, ","));
  }

  absl::StatusOr<std::shared_ptr<const Vocabulary>> Load() const { return LoadJson(Json()); }

  static absl::StatusOr<std::shared_ptr<const Vocabulary>> LoadJson(const std::string& json) {
    auto document = base::JsonDocument::Parse(json, "tokenizer.json");
    if (!document.ok()) return document.status();
    return VocabularyOfTokenizerJson(*document);
  }
};

// Bytes, a handful of English and code, CodeGen's kind of white space and control tokens.
inline TokenizerFile SmallTokenizer() {
  TokenizerFile file;
  file.Merge("h", "e").Merge("l", "l").Merge("he", "ll").Merge("hell", "o");
  file.Merge("Ġ", "hello").Merge("r", "e").Merge("Ġ", "re").Merge("Ċ", "Ċ").Merge("1", "2");
  const auto next = static_cast<std::int64_t>(file.vocabulary.size());
  file.Added("<|endoftext|>", next, true, false);
  file.Added("    ", next + 1, false, true).Added("  ", next + 2, false, true);
  file.Added("\t\t", next + 3, false, true).Added("<mask_1>", next + 4, false, true);
  return file;
}

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TESTS_TOKENIZER_TOKENIZER_FILE_H_
