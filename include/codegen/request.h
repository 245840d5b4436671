// SPDX-License-Identifier: Apache-2.0
//
// What a host asks for and what it gets back: plain values, used with designated initialisers.
//
//   codegen::Request request{.prompt = "def fib(n):", .max_new_tokens = 64, .stop = {.strings =
//   {"\n\n"}}};
#ifndef CODEGEN_REQUEST_H_
#define CODEGEN_REQUEST_H_

#include <cstdint>
#include <string>
#include <vector>

namespace codegen {

// Index of a token in the model's vocabulary: a row of its embedding. Never negative in valid data.
using TokenId = std::int32_t;

// Whether control strings such as `<|endoftext|>` or `<mask_1>` inside a text become control
// tokens. Text that comes from a user is encoded with kNo, so that it cannot inject control tokens;
// the tokens that stand for runs of spaces and tabs are ordinary text and always used.
enum class AllowSpecial { kNo, kYes };

// When a completion ends before `max_new_tokens`.
struct Stop {
  // Ends before the first occurrence of any of these, wherever token boundaries fall. No part of a
  // stop string is ever delivered. At most Limits::stop_strings of at most
  // Limits::stop_string_bytes bytes, none empty.
  std::vector<std::string> strings = {};
  // Ends when one of these ids is sampled; the id itself is not part of the result. Each below the
  // vocabulary size.
  std::vector<TokenId> tokens = {};
  // Continue past the model's end-of-text token, which then is an ordinary token that decodes to
  // nothing.
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

  // Sampling, applied in this order: temperature, top_k, top_p.
  // 0 takes the most likely token (greedy). Finite, in [0, 100]; below 1e-3 is greedy.
  float temperature = 0.0F;
  // Keep the k most likely tokens; 0 keeps all.
  int top_k = 0;
  // Keep the smallest set of most likely tokens whose probabilities reach top_p; in (0, 1], 1 keeps
  // all.
  float top_p = 1.0F;
  // Random numbers depend on (seed, position) alone: the same request gives the same tokens,
  // whatever runs beside it.
  std::uint64_t seed = 0;

  Stop stop = {};
};

// Why a completion ended.
enum class FinishReason {
  kStop,       // a stop string or stop token
  kLength,     // max_new_tokens reached, or the context is full
  kEos,        // the model produced its end-of-text token
  kCancelled,  // Session::Cancel, or the callback returned kCancel
};

// "stop", "length", "eos" or "cancelled".
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

// The result of a request.
struct Completion {
  std::string text = {};  // valid UTF-8; empty if the model has no tokenizer
  // Every token sampled, without the stop token or end-of-text that ended it.
  std::vector<TokenId> token_ids = {};
  FinishReason finish_reason = FinishReason::kLength;
  Usage usage = {};
  Timings timings = {};
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
