// SPDX-License-Identifier: Apache-2.0
//
// codegen score: how likely the model finds each token of a text.

#include <fmt/format.h>

#include <utility>

#include "command.h"
#include "input.h"
#include "json_lines.h"
#include "load.h"
#include "output.h"

namespace cli {
namespace {

absl::StatusOr<codegen::Score> ScoreRequest(const codegen::Request& request,
                                            codegen::Session& session) {
  if (request.prompt_ids.empty()) return session.ScoreText(request.prompt, request.allow_special);
  return session.ScoreTokens(request.prompt_ids);
}

Json ToJson(const codegen::Score& score) {
  return {{"token_ids", score.token_ids},
          {"logprobs", score.logprobs},
          {"perplexity", score.perplexity}};
}

absl::Status ScoreLines(const Flags& flags, codegen::Session& session) {
  return ServeJsonLines([&](const Json& line) -> absl::StatusOr<Json> {
    codegen::Request request = flags.request;
    Fields fields(line);
    ReadPrompt(fields, request);
    if (const absl::Status status = fields.Finish(); !status.ok()) return status;
    const absl::StatusOr<codegen::Score> score = ScoreRequest(request, session);
    if (!score.ok()) return score.status();
    return ToJson(*score);
  });
}

// One line for each token: its log-probability, which the first has not, its id and, if there is a
// tokenizer, its text.
std::string ToTable(const codegen::Score& score,
                    const std::optional<codegen::Tokenizer>& tokenizer) {
  std::string table;
  for (std::size_t i = 0; i < score.token_ids.size(); ++i) {
    const codegen::TokenId id = score.token_ids[i];
    table += i == 0 ? fmt::format("{:11}", "") : fmt::format("{:11.5f}", score.logprobs[i - 1]);
    table += fmt::format(" {:6}", id);
    if (tokenizer) table += fmt::format(" {}", Json(tokenizer->Decode({&id, 1})).dump());
    table += '\n';
  }
  return table + fmt::format("perplexity {:.6g}\n", score.perplexity);
}

absl::Status Run(const Flags& flags) {
  codegen::Request request;
  if (!flags.json_lines) {
    absl::StatusOr<codegen::Request> read = ReadRequest(flags);
    if (!read.ok()) return read.status();
    request = *std::move(read);
  }
  absl::StatusOr<LoadedModel> loaded = LoadModel(flags);
  if (!loaded.ok()) return loaded.status();
  absl::StatusOr<codegen::Session> session = codegen::Session::Create(loaded->model);
  if (!session.ok()) return session.status();

  if (flags.json_lines) return ScoreLines(flags, *session);
  const absl::StatusOr<codegen::Score> score = ScoreRequest(request, *session);
  if (!score.ok()) return score.status();
  return flags.json ? WriteLine(ToJson(*score)) : Write(ToTable(*score, loaded->model.tokenizer()));
}

absl::Status Check(const Flags& flags) {
  const absl::Status status = CheckModel(flags);
  return status.ok() ? CheckInput(flags) : status;
}

}  // namespace

Command ScoreCommand() {
  return {
      .name = "score",
      .summary = "print how likely the model finds each token of a text",
      .details =
          R"(Each line has a token's natural log-probability given those before it, its id and its text.
--json prints {"token_ids", "logprobs", "perplexity"}, where logprobs[i] is the
  log-probability of token i+1 given tokens 0..i.
--json-lines reads {"id"?, "prompt" | "prompt_ids", "special"?} from each line and prints
  the same with the "id", or {"id"?, "error": {"code", "message"}}.
)",
      .example = "codegen score --model examples/models/codegen-tiny-python --prompt 'return x'",
      .flags = {CommonFlags(), JsonLinesFlags(), PromptFlags(), SpecialFlags()},
      .check = Check,
      .run = Run};
}

}  // namespace cli
