// SPDX-License-Identifier: Apache-2.0
#include "load.h"

#include <chrono>
#include <utility>

#include "input.h"
#include "output.h"
#include "progress_bar.h"

namespace cli {
namespace {

// CodeGen2.5 is LLaMA's architecture with 51200 rows; its vocabulary is made of GPT-2's files.
bool IsCodeGen25(const std::string& folder) {
  const absl::StatusOr<std::string> text = ReadFile(folder + "/config.json");
  if (!text.ok()) return false;
  const Json config = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const auto holds = [&config](const char* key, const Json& value) {
    return config.is_object() && config.contains(key) && config[key] == value;
  };
  return holds("model_type", "llama") && holds("vocab_size", 51200);
}

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const Flags& flags) {
  const auto start = std::chrono::steady_clock::now();
  ProgressBar bar("loading");
  codegen::LoadOptions options = flags.load;
  options.progress = [&bar](const codegen::LoadProgress& progress) {
    bar.Show(static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes_total));
    return codegen::Next::kContinue;
  };
  absl::StatusOr<codegen::Model> model = flags.dummy_weights.empty()
                                             ? codegen::Model::Load(flags.model, options)
                                             : codegen::Model::Random(flags.dummy_weights, options);
  if (!model.ok()) return model.status();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return LoadedModel{*std::move(model), seconds.count()};
}

absl::StatusOr<codegen::Tokenizer> LoadTokenizer(const Flags& flags) {
  const std::string& other = flags.load.tokenizer_folder;
  const std::string& folder = other.empty() ? flags.model : other;
  if (flags.model.empty() || !IsCodeGen25(flags.model)) return codegen::Tokenizer::Load(folder);
  if (!other.empty()) return codegen::Tokenizer::LoadCodeGen25(folder);
  // What `quantize` wrote keeps the GPT-2 files that the vocabulary was built from.
  absl::StatusOr<codegen::Tokenizer> built = codegen::Tokenizer::LoadCodeGen25(folder);
  return built.ok() ? std::move(built) : codegen::Tokenizer::Load(folder);
}

}  // namespace cli
