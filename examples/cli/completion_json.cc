// SPDX-License-Identifier: Apache-2.0
#include "completion_json.h"

#include <chrono>
#include <utility>

#include "json_lines.h"

namespace cli {
namespace {

double TokensPerSecond(const codegen::Completion& completion) {
  const int after_first = completion.usage.completion_tokens - 1;
  return after_first > 0 && completion.timings.decode_s > 0
             ? after_first / completion.timings.decode_s
             : 0;
}

Json ToJson(const codegen::Sample& sample) {
  Json json = {{"text", sample.text}, {"token_ids", sample.token_ids}};
  if (!sample.logprobs.empty()) json["logprobs"] = sample.logprobs;
  json["finish_reason"] = codegen::FinishReasonName(sample.finish_reason);
  return json;
}

void ReadSampling(Fields& fields, codegen::Request& request) {
  fields.Read("temperature", request.temperature);
  fields.Read("top_k", request.top_k);
  fields.Read("top_p", request.top_p);
  fields.Read("min_p", request.min_p);
  fields.Read("repetition_penalty", request.repetition_penalty);
  fields.Read("frequency_penalty", request.frequency_penalty);
  fields.Read("presence_penalty", request.presence_penalty);
  fields.Read("logit_bias", request.logit_bias);
  fields.Read("seed", request.seed);
}

// What only makes sense beside other requests.
void ReadShared(Fields& fields, Engine engine, codegen::Request& request) {
  if (engine == Engine::kSession) {
    for (const char* key : {"priority", "n", "cache_salt"})
      fields.Refuse(key, "needs --concurrency of at least 2");
    return;
  }
  fields.Read("priority", request.priority);
  fields.Read("n", request.n);
  fields.Read("cache_salt", request.cache_salt);
}

}  // namespace

absl::StatusOr<codegen::Request> ReadCompletion(const Json& line, const Flags& flags,
                                                Engine engine) {
  codegen::Request request = flags.request;
  int deadline_ms = flags.deadline_ms;
  Fields fields(line);
  ReadPrompt(fields, request);
  fields.Read("max_new_tokens", request.max_new_tokens);
  ReadSampling(fields, request);
  fields.Read("stop", request.stop.strings);
  fields.Read("ignore_eos", request.stop.ignore_eos);
  fields.Read("logprobs", request.logprobs);
  fields.Read("deadline_ms", deadline_ms);
  ReadShared(fields, engine, request);
  if (const absl::Status status = fields.Finish(); !status.ok()) return status;
  return StartDeadline(std::move(request), deadline_ms);
}

codegen::Request StartDeadline(codegen::Request request, int deadline_ms) {
  if (deadline_ms != 0)
    request.done_by = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms);
  return request;
}

Json ToJson(const codegen::Completion& completion, double load_s) {
  Json json = ToJson(static_cast<const codegen::Sample&>(completion));
  for (const codegen::Sample& sample : completion.more) json["more"].push_back(ToJson(sample));
  json["usage"] = {{"prompt_tokens", completion.usage.prompt_tokens},
                   {"completion_tokens", completion.usage.completion_tokens}};
  json["timings"] = {{"load_s", load_s},
                     {"prefill_s", completion.timings.prefill_s},
                     {"decode_s", completion.timings.decode_s},
                     {"tokens_per_s", TokensPerSecond(completion)}};
  return json;
}

}  // namespace cli
