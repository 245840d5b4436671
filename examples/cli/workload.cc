// SPDX-License-Identifier: Apache-2.0
#include "workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <string>

#include "input.h"
#include "output.h"

namespace cli {
namespace {

using PromptIds = std::vector<codegen::TokenId>;

// Of the logarithm of mixed lengths: one in six is more than twice the median, or less than half.
constexpr double kDeviation = 0.7;

// Returns the "prompt" of one line, nothing if it has none.
std::optional<std::string> PromptOf(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("prompt") || !json["prompt"].is_string())
    return std::nullopt;
  return json["prompt"].get<std::string>();
}

// The model's own tokenizer, or that of --tokenizer for a model of random weights, which has none.
absl::StatusOr<codegen::Tokenizer> TokenizerFor(const Flags& flags, const codegen::Model& model) {
  if (model.tokenizer()) return *model.tokenizer();
  if (!flags.load.tokenizer_folder.empty())
    return codegen::Tokenizer::Load(flags.load.tokenizer_folder);
  return absl::FailedPreconditionError("--prompts: the model has no tokenizer: give --tokenizer");
}

absl::StatusOr<std::vector<PromptIds>> ReadPrompts(const std::string& file,
                                                   const codegen::Tokenizer& tokenizer) {
  const absl::StatusOr<std::string> text = ReadFile(file);
  if (!text.ok()) return text.status();
  std::vector<PromptIds> prompts;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const std::optional<std::string> prompt = PromptOf(line);
    if (!prompt || prompt->empty()) {
      return absl::InvalidArgumentError(fmt::format(
          "{}, line {}: expected an object with a \"prompt\"", file, prompts.size() + 1));
    }
    absl::StatusOr<PromptIds> ids = tokenizer.Encode(*prompt);
    if (!ids.ok()) return ids.status();
    prompts.push_back(*std::move(ids));
  }
  if (prompts.empty()) return absl::InvalidArgumentError(fmt::format("{}: no line", file));
  return prompts;
}

}  // namespace

absl::StatusOr<Workload> Workload::Create(const Flags& flags, const codegen::Model& model) {
  std::vector<PromptIds> prompts;
  if (!flags.load_test.prompts.empty()) {
    const absl::StatusOr<codegen::Tokenizer> tokenizer = TokenizerFor(flags, model);
    if (!tokenizer.ok()) return tokenizer.status();
    absl::StatusOr<std::vector<PromptIds>> read = ReadPrompts(flags.load_test.prompts, *tokenizer);
    if (!read.ok()) return read.status();
    prompts = *std::move(read);
  }
  Workload workload(flags, model.info(), std::move(prompts));
  if (const absl::Status status = workload.CheckLengths(); !status.ok()) return status;
  return workload;
}

codegen::Request Workload::At(std::uint64_t i) const {
  const std::uint64_t seed = flags_.load_test.seed;
  std::seed_seq words{seed, seed >> 32, i};
  Random random(words);
  codegen::Request request;
  request.prompt_ids = prompts_.empty() ? RandomPrompt(i, random) : prompts_[i % prompts_.size()];
  const int room = info_.context - static_cast<int>(request.prompt_ids.size());
  request.max_new_tokens = Length(flags_.request.max_new_tokens, room, random);
  request.stop.ignore_eos = true;
  return request;
}

// Mixed lengths are cut to what fits; one that was asked for is not.
absl::Status Workload::CheckLengths() const {
  std::size_t longest = 0;
  for (const PromptIds& prompt : prompts_) longest = std::max(longest, prompt.size());
  if (prompts_.empty()) {
    longest = static_cast<std::size_t>(*std::ranges::max_element(flags_.bench.prompt_tokens));
  }
  const std::size_t tokens = longest + static_cast<std::size_t>(flags_.request.max_new_tokens);
  if (tokens <= static_cast<std::size_t>(info_.context)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a prompt of {} tokens and --max-new-tokens {}: the context holds {}", longest,
                  flags_.request.max_new_tokens, info_.context));
}

int Workload::Length(int median, int most, Random& random) const {
  if (!flags_.load_test.mixed) return median;
  const double drawn = median * std::exp(std::normal_distribution<double>(0, kDeviation)(random));
  return static_cast<int>(std::lround(std::clamp<double>(drawn, 1, most)));
}

Workload::TokenIds Workload::RandomPrompt(std::uint64_t i, Random& random) const {
  const std::vector<int>& lengths = flags_.bench.prompt_tokens;
  const int room = info_.context - flags_.request.max_new_tokens;
  TokenIds ids(static_cast<std::size_t>(Length(lengths[i % lengths.size()], room, random)));
  std::uniform_int_distribution<codegen::TokenId> token(0, info_.vocabulary - 1);
  for (codegen::TokenId& id : ids) id = token(random);
  return ids;
}

}  // namespace cli
