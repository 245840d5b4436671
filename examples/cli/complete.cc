// SPDX-License-Identifier: Apache-2.0
//
// codegen complete: a session that continues one prompt after the other.

#include <fmt/format.h>

#include <utility>

#include "command.h"
#include "complete_lines.h"
#include "completion_json.h"
#include "input.h"
#include "load.h"
#include "output.h"

namespace cli {
namespace {

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

absl::Status CompleteOne(const Flags& flags) {
  const absl::StatusOr<codegen::Request> read = ReadRequest(flags);
  if (!read.ok()) return read.status();
  const absl::StatusOr<LoadedModel> loaded = LoadModel(flags);
  if (!loaded.ok()) return loaded.status();
  absl::StatusOr<codegen::Session> session = codegen::Session::Create(loaded->model);
  if (!session.ok()) return session.status();

  const codegen::Request request = StartDeadline(*read, flags.deadline_ms);
  if (flags.json) return CompleteAsJson(request, *session, loaded->load_s);
  if (!loaded->model.tokenizer()) return CompleteAsIds(request, *session);
  return CompleteAsText(request, *session);
}

absl::Status Run(const Flags& flags) {
  if (!flags.json_lines) return CompleteOne(flags);
  const absl::StatusOr<LoadedModel> loaded = LoadModel(flags);
  return loaded.ok() ? CompleteLines(flags, *loaded) : loaded.status();
}

absl::Status CheckConcurrency(const Flags& flags) {
  if (!flags.json_lines)
    return CheckGiven(flags, {"concurrency", "priority"}, "needs --json-lines");
  if (Given(flags, "concurrency")) return absl::OkStatus();
  return CheckGiven(flags, {"priority"}, "needs --concurrency");
}

absl::Status CheckLogprobs(const Flags& flags) {
  if (flags.json || flags.json_lines) return absl::OkStatus();
  return CheckGiven(flags, {"logprobs"}, "needs --json or --json-lines");
}

absl::Status Check(const Flags& flags) {
  for (const auto& check : {CheckModel, CheckInput, CheckConcurrency, CheckLogprobs}) {
    if (const absl::Status status = check(flags); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

Command CompleteCommand() {
  return {
      .name = "complete",
      .summary = "continue a prompt, printing the text as it is generated",
      .details =
          R"(Without a tokenizer the completion is printed as token ids. After --deadline-ms it ends with what
there is by then.
--json prints {"text", "token_ids", "finish_reason": "stop|length|eos|deadline",
  "usage": {"prompt_tokens", "completion_tokens"},
  "timings": {"load_s", "prefill_s", "decode_s", "tokens_per_s"}};
  tokens_per_s counts the tokens after the first, over decode_s. With --logprobs there are
  "logprobs" too, unless no token was drawn: the natural logarithm of the probability of each.
--json-lines reads {"id"?, "prompt" | "prompt_ids", "max_new_tokens"?, "temperature"?,
  "top_k"?, "top_p"?, "min_p"?, "repetition_penalty"?, "frequency_penalty"?,
  "presence_penalty"?, "logit_bias"? (e.g. {"198": -100}), "seed"?, "stop"?, "ignore_eos"?,
  "logprobs"?, "special"?, "deadline_ms"?} from each line and prints the same with the "id", or
  {"id"?, "error": {"code", "message"}}; what a line leaves out is as the flags say. A
  deadline counts from when its line is read.
--json-lines --concurrency N completes up to N lines together, which takes far less time
  than one after the other; the text of each is the same (on a GPU with --deterministic).
  Answers with an "id" come as soon as they are there, in any order. Answers to lines
  without one keep the order of these lines among themselves: one that is ready early
  waits, and counts as one of the N.
  A line then also takes "priority" (in [-100, 100], lower ones go first), "cache_salt"
  (only lines with the same one share what was computed of a common beginning) and "n"
  (completions of the prompt to draw, in [1, 16]); those after the first come back as
  "more": [{"text", "token_ids", "logprobs"?, "finish_reason"}].
)",
      .example =
          "codegen complete --model examples/models/codegen-tiny-python --prompt 'def fib(n):'",
      .flags = {CommonFlags(), JsonLinesFlags(), PromptFlags(), SpecialFlags(), CompletionFlags(),
                ConcurrencyFlags()},
      .check = Check,
      .run = Run};
}

}  // namespace cli
