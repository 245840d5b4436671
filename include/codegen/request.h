// SPDX-License-Identifier: Apache-2.0
//
// What a host asks for and what it gets back: plain values, used with designated initialisers.
//
//   codegen::Request request{.prompt = "def fib(n):", .max_new_tokens = 64, .stop = {.strings =
//   {"\n\n"}}};
#ifndef CODEGEN_REQUEST_H_
#define CODEGEN_REQUEST_H_

#include <absl/status/status.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "codegen/options.h"

namespace codegen {

// The only clock of the library: steady, so that setting the time of day changes nothing.
using Time = std::chrono::steady_clock::time_point;

// Index of a token in the model's vocabulary: a row of its embedding. Never negative in valid data.
using TokenId = std::int32_t;

// Whether control strings such as `<|endoftext|>` or `<mask_1>` inside a text become control
// tokens. Text that comes from a user is encoded with kNo, so that it cannot inject control tokens;
// the tokens that stand for runs of spaces and tabs are ordinary text and always used.
enum class AllowSpecial { kNo, kYes };

// What is added to the logit of a token, wherever it may come: in [-100, 100]. -100 as good as
// forbids it, 100 as good as demands it.
struct TokenBias {
  TokenId token = 0;
  float bias = 0.0F;
};

// When a completion ends before `max_new_tokens`.
struct Stop {
  // Ends before the first occurrence of any of these, wherever token boundaries fall. No part of a
  // stop string is ever delivered. At most Limits::stop_strings, in UTF-8, of at most
  // Limits::stop_string_bytes bytes, none empty.
  std::vector<std::string> strings = {};
  // Ends when one of these ids is sampled; the id itself is not part of the result. Each below the
  // vocabulary size, at most Limits::stop_tokens.
  std::vector<TokenId> tokens = {};
  // Continue past the model's end-of-text token, which then is an ordinary token: its id is among
  // the token_ids, its literal text in the text.
  bool ignore_eos = false;
};

// One completion. Exactly one of `prompt` and `prompt_ids` is used: `prompt_ids` if it is not
// empty.
struct Request {
  // UTF-8 text. Must be empty when prompt_ids is given. May not be empty otherwise.
  std::string prompt = {};
  // Token ids, for hosts that tokenise themselves and for folders without a tokenizer.
  std::vector<TokenId> prompt_ids = {};
  // Whether control strings in `prompt` are recognised.
  AllowSpecial allow_special = AllowSpecial::kNo;

  // Number of tokens to generate at most, >= 0; also bounded by the model's context.
  int max_new_tokens = 128;

  // Sampling, applied in this order: temperature, top_k, top_p, min_p.
  // 0 takes the most likely token (greedy). Finite, in [0, 100]; below 1e-3 is greedy.
  float temperature = 0.0F;
  // Keep the k most likely tokens; 0 keeps all.
  int top_k = 0;
  // Keep the smallest set of most likely tokens whose probabilities reach top_p; in (0, 1], 1 keeps
  // all.
  float top_p = 1.0F;
  // Keep the tokens that are at least min_p times as probable as the most likely one; in [0, 1], 0
  // keeps all.
  float min_p = 0.0F;
  // Before that, the logit l of each token becomes, in this order:
  // - l / p, or l p where l is negative, if the prompt or the completion holds the token; p is
  //   repetition_penalty (Keskar et al., 2019, as in transformers), in [0.01, 100]; 1: none;
  // - l - frequency_penalty c - presence_penalty, if the completion holds it c > 0 times (as in
  //   OpenAI's API), each in [-2, 2];
  // - l + its bias. At most Limits::logit_biases, each of another token.
  // Greedy takes the most likely of what results.
  float repetition_penalty = 1.0F;
  float frequency_penalty = 0.0F;
  float presence_penalty = 0.0F;
  std::vector<TokenBias> logit_bias = {};

  // Random numbers depend on (seed, position) alone: the same request gives the same tokens,
  // whatever runs beside it (on a GPU with LoadOptions::deterministic).
  std::uint64_t seed = 0;
  // How many completions of the prompt to draw, in [1, Limits::samples]. The prompt is computed
  // once. The first is what n = 1 gives, the others draw with seeds that depend on (seed, number)
  // alone. A Session draws one.
  int n = 1;
  // Whether Sample::logprobs is wanted. Costs a pass over the vocabulary for every token.
  bool logprobs = false;

  Stop stop = {};

  // When an answer is still of use; Time::max() is always. A completion whose first token is not
  // there by `first_token_by`, or that has not ended by `done_by`, ends within one step with what
  // it has: FinishReason::kDeadline, DEADLINE_EXCEEDED. A Batcher refuses what is already late.
  Time first_token_by = Time::max();
  Time done_by = Time::max();

  // The rest is for a Batcher; a Session alone checks it and does no more with it.

  // Requests of a lower number are served first, in [-100, 100]; equal ones in order of arrival.
  // BatcherOptions::ageing bounds how long the others can be kept waiting.
  int priority = 0;
  // Requests share the keys and values of a common prefix only if their salts are equal, so that
  // one tenant cannot learn from the latency of its requests what another has asked. Any bytes, at
  // most Limits::cache_salt_bytes.
  std::string cache_salt = {};
};

// Why a completion ended.
enum class FinishReason {
  kStop,       // a stop string or stop token
  kLength,     // max_new_tokens reached, or the context is full
  kEos,        // the model produced its end-of-text token
  kCancelled,  // by the host: Cancel, a callback that returned kCancel, a handle that was destroyed
  kDeadline,   // Request::first_token_by or done_by passed
  kError,      // Completion::status says which
};

// "stop", "length", "eos", "cancelled", "deadline" or "error".
constexpr const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

// Tokens counted for one completion.
struct Usage {
  int prompt_tokens = 0;
  int cached_prompt_tokens = 0;  // of prompt_tokens, those whose keys and values were already there
  int completion_tokens = 0;
};

// Wall-clock seconds of one completion.
struct Timings {
  double prefill_s = 0;  // until the first token was sampled
  double decode_s = 0;   // from the first token to the last
};

// When things happened to a request of a Batcher; Time() for what did not.
struct Timeline {
  Time queued = {};       // accepted by Submit
  Time scheduled = {};    // first given memory and a place in a step
  Time first_token = {};  // the first token was drawn
  Time done = {};         // nothing more came
  int preemptions = 0;    // how often its memory was taken away, and its tokens computed again
};

// One of the completions of a prompt.
struct Sample {
  std::string text = {};  // valid UTF-8; empty if the model has no tokenizer
  // Every token sampled, without the stop token or end-of-text that ended it.
  std::vector<TokenId> token_ids = {};
  // With Request::logprobs, one for each of token_ids: the natural logarithm of its probability,
  // before penalties, bias, temperature, top_k, top_p and min_p, among the tokenizer's tokens (a
  // Score is among all rows of the embedding, which may be more). Else empty.
  std::vector<float> logprobs = {};
  FinishReason finish_reason = FinishReason::kLength;
};

// The result of a request: the first sample, and what is said of all of them.
struct Completion : Sample {
  std::vector<Sample> more = {};  // the second to Request::n-th
  // OK if every sample ended by itself (kStop, kLength, kEos), else why one did not: CANCELLED,
  // DEADLINE_EXCEEDED, UNKNOWN (a callback threw), INTERNAL (the model produced NaN),
  // RESOURCE_EXHAUSTED (no memory for the output), UNAVAILABLE (the engine failed or stopped). The
  // samples hold what there was until then.
  absl::Status status = {};
  Usage usage = {};  // completion_tokens counts all samples
  Timings timings = {};
  Timeline timeline = {};
};

// The result of scoring: how likely the model finds given tokens.
struct Score {
  std::vector<TokenId> token_ids = {};
  // Natural logarithms: logprobs[i] = log p(token_ids[i + 1] | token_ids[0..i]); one fewer than
  // token_ids.
  std::vector<float> logprobs = {};
  // exp(-mean(logprobs)); 1 when there are none.
  double perplexity = 1;
};

}  // namespace codegen

#endif  // CODEGEN_REQUEST_H_
