// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/load_tokenizer.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/file.h"
#include "tokenizer/codegen25.h"
#include "tokenizer/gpt2_files.h"
#include "tokenizer/tokenizer_json.h"

namespace codegen::tokenizer {
namespace {

bool HasTokenizerJson(const std::string& folder) {
  return base::Exists(base::JoinPath(folder, "tokenizer.json"));
}

}  // namespace

bool HasTokenizerFiles(const std::string& folder) {
  return HasTokenizerJson(folder) || HasGpt2Files(folder);
}

std::vector<std::string> TokenizerFiles(const std::string& folder) {
  if (HasTokenizerJson(folder)) return {"tokenizer.json"};
  return Gpt2Files(folder);
}

std::vector<std::string> TokenizerFileNames() {
  std::vector<std::string> names = Gpt2FileNames();
  names.emplace_back("tokenizer.json");
  return names;
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> LoadTokenizer(const std::string& folder) {
  if (HasTokenizerJson(folder)) return ReadTokenizerJson(folder);
  if (HasGpt2Files(folder)) return ReadGpt2Files(folder);
  return absl::NotFoundError(fmt::format(
      "folder \"{}\" has no tokenizer: put tokenizer.json there, or vocab.json and "
      "merges.txt (and added_tokens.json, which CodeGen1 multi and mono and CodeGen2 have)",
      folder));
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> LoadCodeGen25Tokenizer(
    const std::string& gpt2_folder) {
  if (gpt2_folder.empty()) {
    return absl::NotFoundError(
        "CodeGen2.5 publishes no tokenizer files: set LoadOptions::tokenizer_folder to a folder "
        "with "
        "GPT-2's (tokenizer.json, or vocab.json and merges.txt, or vocab.bpe, or gpt2.tiktoken); "
        "any "
        "CodeGen1, CodeGen2 or GPT-2 model folder has them");
  }
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<const Vocabulary> gpt2,
                           LoadTokenizer(gpt2_folder));
  return CodeGen25Vocabulary(*gpt2);
}

}  // namespace codegen::tokenizer
