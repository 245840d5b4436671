// SPDX-License-Identifier: Apache-2.0
//
// What is read and what is not. `model` and `added_tokens` are the tokenizer. `normalizer`,
// `pre_tokenizer`, `post_processor` and `decoder` change ids or text, so each must be one whose
// effect is known: anything else is refused by name rather than ignored. `truncation` and `padding`
// are about batches, not about what a text is; they are ignored whatever they hold.
#include "tokenizer/tokenizer_json.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/quote.h"
#include "codegen/options.h"
#include "tokenizer/vocabulary_builder.h"

namespace codegen::tokenizer {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

// One object of the file with the path that messages show, e.g. `tokenizer.json: model`.
class Section {
 public:
  Section(object fields, std::string path) : fields_(fields), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string PathOf(std::string_view key) const { return fmt::format("{}.{}", path_, key); }

  // Returns the value of `key`; nothing if it is absent or null.
  std::optional<element> Find(std::string_view key) const {
    element value;
    if (fields_.at_key(key).get(value) || value.is_null()) return std::nullopt;
    return value;
  }

  absl::Status WrongType(std::string_view key, const char* expected, element found) const {
    return absl::DataLossError(
        fmt::format("{}: expected {}, found {}", PathOf(key), expected, base::JsonTypeName(found)));
  }

  template <typename T>
  absl::StatusOr<T> Get(std::string_view key, const char* type_name) const {
    const auto value = Find(key);
    if (!value) return absl::DataLossError(fmt::format("{}: missing", PathOf(key)));
    T result;
    if (value->get<T>().get(result)) return WrongType(key, type_name, *value);
    return result;
  }

  absl::StatusOr<bool> GetBool(std::string_view key, bool absent) const {
    if (!Find(key)) return absent;
    return Get<bool>(key, "boolean");
  }

  absl::StatusOr<std::string_view> GetString(std::string_view key, std::string_view absent) const {
    if (!Find(key)) return absent;
    return Get<std::string_view>(key, "string");
  }

  absl::StatusOr<Section> GetSection(std::string_view key) const {
    CODEGEN_ASSIGN_OR_RETURN(const object fields, Get<object>(key, "object"));
    return Section(fields, PathOf(key));
  }

 private:
  object fields_;
  std::string path_;
};

absl::Status Unsupported(std::string_view what, std::string_view found, std::string_view known) {
  return absl::UnimplementedError(
      fmt::format("{}: {} is not supported, only {}", what, base::Quote(found), known));
}

// Requires that `key` is absent, null, or an object of type ByteLevel.
absl::Status RequireByteLevelOrNone(const Section& root, std::string_view key) {
  if (!root.Find(key)) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(const Section section, root.GetSection(key));
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view type,
                           section.Get<std::string_view>("type", "string"));
  if (type != "ByteLevel") return Unsupported(section.path(), type, "ByteLevel");
  return absl::OkStatus();
}

absl::Status RequireByteLevel(const Section& root, std::string_view key) {
  if (!root.Find(key)) return Unsupported(root.PathOf(key), "null", "ByteLevel");
  return RequireByteLevelOrNone(root, key);
}

absl::Status CheckNormalizer(const Section& root) {
  if (!root.Find("normalizer")) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(const Section section, root.GetSection("normalizer"));
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view type,
                           section.Get<std::string_view>("type", "string"));
  return Unsupported(section.path(), type, "null");
}

absl::StatusOr<PieceSplit> ReadPieceSplit(const Section& root) {
  CODEGEN_RETURN_IF_ERROR(RequireByteLevel(root, "pre_tokenizer"));
  CODEGEN_ASSIGN_OR_RETURN(const Section section, root.GetSection("pre_tokenizer"));
  CODEGEN_ASSIGN_OR_RETURN(const bool prefix_space, section.GetBool("add_prefix_space", true));
  if (prefix_space) return Unsupported(section.PathOf("add_prefix_space"), "true", "false");
  CODEGEN_ASSIGN_OR_RETURN(const bool use_regex, section.GetBool("use_regex", true));
  return use_regex ? PieceSplit::kGpt2Pattern : PieceSplit::kNone;
}

absl::Status CheckModelOptions(const Section& model) {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view type, model.GetString("type", "BPE"));
  if (type != "BPE") return Unsupported(model.PathOf("type"), type, "BPE");
  if (model.Find("dropout")) {
    CODEGEN_ASSIGN_OR_RETURN(const double dropout, model.Get<double>("dropout", "number"));
    if (dropout != 0.0)
      return Unsupported(model.PathOf("dropout"), fmt::format("{}", dropout), "null");
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    CODEGEN_ASSIGN_OR_RETURN(const std::string_view affix, model.GetString(key, ""));
    if (!affix.empty()) return Unsupported(model.PathOf(key), affix, "\"\"");
  }
  CODEGEN_ASSIGN_OR_RETURN(const bool byte_fallback, model.GetBool("byte_fallback", false));
  if (byte_fallback) return Unsupported(model.PathOf("byte_fallback"), "true", "false");
  return absl::OkStatus();
}

absl::Status ReadVocabulary(const Section& model, VocabularyBuilder& builder) {
  CODEGEN_ASSIGN_OR_RETURN(const object vocabulary, model.Get<object>("vocab", "object"));
  if (vocabulary.size() > static_cast<std::size_t>(Limits::vocabulary)) {
    return absl::ResourceExhaustedError(
        fmt::format("{}: more than {} tokens", model.PathOf("vocab"), Limits::vocabulary));
  }
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view unknown, model.GetString("unk_token", ""));
  if (element found; !unknown.empty() && vocabulary.at_key(unknown).get(found)) {
    return absl::InvalidArgumentError(fmt::format("{}: {} is not in the vocabulary",
                                                  model.PathOf("unk_token"), base::Quote(unknown)));
  }
  for (const auto& [token, value] : vocabulary) {
    std::int64_t id = 0;
    if (value.get(id)) {
      return absl::DataLossError(fmt::format("{}: id of {}: expected an integer, found {}",
                                             model.PathOf("vocab"), base::Quote(token),
                                             base::JsonTypeName(value)));
    }
    CODEGEN_RETURN_IF_ERROR(builder.AddSpelledPiece(token, id));
  }
  return absl::OkStatus();
}

struct SpelledMerge {
  std::string_view left;
  std::string_view right;
};

// Both known forms: "a b", where the one space cannot be part of a spelling, and ["a", "b"].
std::optional<SpelledMerge> ParseMerge(element value) {
  SpelledMerge merge;
  if (value.is_string()) {
    const std::string_view text = value.get_string().value_unsafe();
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    merge = {text.substr(0, space), text.substr(space + 1)};
    if (merge.right.find(' ') != std::string_view::npos) return std::nullopt;
  } else {
    simdjson::dom::array halves;
    if (value.get(halves) || halves.size() != 2) return std::nullopt;
    if (halves.at(0).get(merge.left) || halves.at(1).get(merge.right)) return std::nullopt;
  }
  if (merge.left.empty() || merge.right.empty()) return std::nullopt;
  return merge;
}

absl::Status ReadMerges(const Section& model, VocabularyBuilder& builder) {
  CODEGEN_ASSIGN_OR_RETURN(const auto merges, model.Get<simdjson::dom::array>("merges", "array"));
  std::int64_t number = 0;
  for (const element value : merges) {
    const auto where = [&] { return fmt::format("{}[{}]", model.PathOf("merges"), number); };
    const auto merge = ParseMerge(value);
    if (!merge) {
      return absl::DataLossError(fmt::format("{}: expected \"a b\" or [\"a\", \"b\"]", where()));
    }
    if (const absl::Status added = builder.AddSpelledMerge(merge->left, merge->right);
        !added.ok()) {
      return absl::Status(added.code(),
                          fmt::format("{}: {}", where(), std::string(added.message())));
    }
    ++number;
  }
  return absl::OkStatus();
}

absl::Status ReadAddedToken(const Section& token, VocabularyBuilder& builder) {
  CODEGEN_ASSIGN_OR_RETURN(const std::int64_t id, token.Get<std::int64_t>("id", "integer"));
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view content,
                           token.Get<std::string_view>("content", "string"));
  for (const std::string_view key : {"single_word", "lstrip", "rstrip"}) {
    CODEGEN_ASSIGN_OR_RETURN(const bool flag, token.GetBool(key, false));
    if (flag) return Unsupported(token.PathOf(key), "true", "false");
  }
  CODEGEN_ASSIGN_OR_RETURN(const bool special, token.GetBool("special", false));
  CODEGEN_ASSIGN_OR_RETURN(const bool normalized, token.GetBool("normalized", !special));
  using Pass = AddedToken::Pass;
  using Role = AddedToken::Role;
  return builder.AddAddedToken({.content = std::string(content),
                                .id = id,
                                .pass = normalized ? Pass::kSecond : Pass::kFirst,
                                .role = special ? Role::kSpecial : Role::kOrdinary});
}

absl::Status ReadAddedTokens(const Section& root, VocabularyBuilder& builder) {
  if (!root.Find("added_tokens")) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(const auto tokens,
                           root.Get<simdjson::dom::array>("added_tokens", "array"));
  std::int64_t number = 0;
  for (const element value : tokens) {
    const std::string path = fmt::format("{}[{}]", root.PathOf("added_tokens"), number++);
    object fields;
    if (value.get(fields)) {
      return absl::DataLossError(
          fmt::format("{}: expected an object, found {}", path, base::JsonTypeName(value)));
    }
    CODEGEN_RETURN_IF_ERROR(ReadAddedToken(Section(fields, path), builder));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Vocabulary>> VocabularyOfTokenizerJson(
    const base::JsonDocument& document) {
  const Section root(document.root(), document.name());
  VocabularyBuilder builder(document.name());
  CODEGEN_RETURN_IF_ERROR(CheckNormalizer(root));
  CODEGEN_ASSIGN_OR_RETURN(const PieceSplit split, ReadPieceSplit(root));
  builder.set_split(split);
  CODEGEN_RETURN_IF_ERROR(RequireByteLevelOrNone(root, "post_processor"));
  CODEGEN_RETURN_IF_ERROR(RequireByteLevel(root, "decoder"));

  CODEGEN_ASSIGN_OR_RETURN(const Section model, root.GetSection("model"));
  CODEGEN_RETURN_IF_ERROR(CheckModelOptions(model));
  CODEGEN_ASSIGN_OR_RETURN(const bool ignore_merges, model.GetBool("ignore_merges", false));
  builder.set_whole_pieces(ignore_merges ? WholePieces::kFirst : WholePieces::kByMerges);
  CODEGEN_RETURN_IF_ERROR(ReadVocabulary(model, builder));
  CODEGEN_RETURN_IF_ERROR(ReadMerges(model, builder));
  CODEGEN_RETURN_IF_ERROR(ReadAddedTokens(root, builder));
  return builder.Build();
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> ReadTokenizerJson(const std::string& folder) {
  CODEGEN_ASSIGN_OR_RETURN(
      const base::JsonDocument document,
      base::JsonDocument::Read(base::JoinPath(folder, "tokenizer.json"), Limits::tokenizer_bytes));
  return VocabularyOfTokenizerJson(document);
}

}  // namespace codegen::tokenizer
