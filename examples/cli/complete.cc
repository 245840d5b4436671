// SPDX-License-Identifier: Apache-2.0
//
// codegen complete: a session that continues one prompt after the other.

#include <fmt/format.h>

#include <utility>

#include "command.h"
#include "input.h"
#include "json_lines.h"
#include "load.h"
#include "output.h"

namespace cli {
namespace {

double TokensPerSecond(const codegen::Completion& completion) {
  const int after_first = completion.usage.completion_tokens - 1;
  return after_first > 0 && completion.timings.decode_s > 0
             ? after_first / completion.timings.decode_s
             : 0;
}

Json ToJson(const codegen::Completion& completion, double load_s) {
  return {{"text", completion.text},
          {"token_ids", completion.token_ids},
          {"finish_reason", codegen::FinishReasonName(completion.finish_reason)},
          {"usage",
           {{"prompt_tokens", completion.usage.prompt_tokens},
            {"completion_tokens", completion.usage.completion_tokens}}},
          {"timings",
           {{"load_s", load_s},
            {"prefill_s", completion.timings.prefill_s},
            {"decode_s", completion.timings.decode_s},
            {"tokens_per_s", TokensPerSecond(completion)}}}};
}

// What a line leaves out is as the flags say.
absl::StatusOr<codegen::Request> ReadLine(const Json& line, codegen::Request request) {
  Fields fields(line);
  ReadPrompt(fields, request);
  fields.Read("max_new_tokens", request.max_new_tokens);
  fields.Read("temperature", request.temperature);
  fields.Read("top_k", request.top_k);
  fields.Read("top_p", request.top_p);
  fields.Read("seed", request.seed);
  fields.Read("stop", request.stop.strings);
  fields.Read("ignore_eos", request.stop.ignore_eos);
  if (const absl::Status status = fields.Finish(); !status.ok()) return status;
  return request;
}

absl::Status CompleteLines(const Flags& flags, codegen::Session& session, double load_s) {
  return ServeJsonLines([&](const Json& line) -> absl::StatusOr<Json> {
    const absl::StatusOr<codegen::Request> request = ReadLine(line, flags.request);
    if (!request.ok()) return request.status();
    const absl::StatusOr<codegen::Completion> completion = session.Complete(*request);
    if (!completion.ok()) return completion.status();
    return ToJson(*completion, load_s);
  });
}

absl::Status CompleteAsJson(const codegen::Request& request, codegen::Session& session,
                            double load_s) {
  const absl::StatusOr<codegen::Completion> completion = session.Complete(request);
  return completion.ok() ? WriteLine(ToJson(*completion, load_s)) : completion.status();
}

absl::Status CompleteAsText(const codegen::Request& request, codegen::Session& session) {
  absl::Status written;
  const absl::StatusOr<codegen::Completion> completion =
      session.Complete(request, [&written](std::string_view text) {
        written = Write(text);
        return written.ok() ? codegen::Next::kContinue : codegen::Next::kCancel;
      });
  if (!completion.ok()) return completion.status();
  return written.ok() ? FinishText() : written;
}

absl::Status CompleteAsIds(const codegen::Request& request, codegen::Session& session) {
  const absl::StatusOr<codegen::Completion> completion = session.Complete(request);
  return completion.ok() ? Write(fmt::format("{}\n", fmt::join(completion->token_ids, ",")))
                         : completion.status();
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

  if (flags.json_lines) return CompleteLines(flags, *session, loaded->load_s);
  if (flags.json) return CompleteAsJson(request, *session, loaded->load_s);
  if (!loaded->model.tokenizer()) return CompleteAsIds(request, *session);
  return CompleteAsText(request, *session);
}

absl::Status Check(const Flags& flags) {
  const absl::Status status = CheckModel(flags);
  return status.ok() ? CheckInput(flags) : status;
}

}  // namespace

Command CompleteCommand() {
  return {
      .name = "complete",
      .summary = "continue a prompt, printing the text as it is generated",
      .details = R"(Without a tokenizer the completion is printed as token ids.
--json prints {"text", "token_ids", "finish_reason": "stop|length|eos",
  "usage": {"prompt_tokens", "completion_tokens"},
  "timings": {"load_s", "prefill_s", "decode_s", "tokens_per_s"}};
  tokens_per_s counts the tokens after the first, over decode_s.
--json-lines reads {"id"?, "prompt" | "prompt_ids", "max_new_tokens"?, "temperature"?,
  "top_k"?, "top_p"?, "seed"?, "stop"?, "ignore_eos"?, "special"?} from each line and
  prints the same with the "id", or {"id"?, "error": {"code", "message"}}; what a line
  leaves out is as the flags say.
)",
      .example =
          "codegen complete --model examples/models/codegen-tiny-python --prompt 'def fib(n):'",
      .flags = {CommonFlags(), JsonLinesFlags(), PromptFlags(), SpecialFlags(), CompletionFlags()},
      .check = Check,
      .run = Run};
}

}  // namespace cli
