// SPDX-License-Identifier: Apache-2.0
//
// Drawing a token from a row of logits: the definition, and the implementation for logits in host
// memory.
//
// First of all logits are changed, as a row's penalties and bias say. Logits of ids at or beyond
// `vocabulary` take no part (embeddings have more rows than the tokenizer has tokens, and a padding
// row must never be sampled). Greedy takes the largest logit, the lowest id among equals.
// Otherwise, in this order: divide by the temperature; keep the top_k largest; keep the smallest
// set of largest whose probabilities (after temperature and top_k) reach top_p; keep those at least
// min_p times as probable as the largest; draw. Candidates are ordered by (logit descending, id
// ascending), and the random number is a function of (seed, position) alone, so a row's token never
// depends on the rows beside it. Probabilities are whole numbers (weight.h) and their sums exact,
// so all devices draw the same token from the same logits.
#ifndef CODEGEN_BACKEND_SAMPLING_H_
#define CODEGEN_BACKEND_SAMPLING_H_

#include <cstdint>
#include <span>

#include "base/philox.h"
#include "codegen/request.h"

namespace codegen::backend {

// What a logit becomes: (l > 0 ? l / divisor : l * divisor) + bias.
struct LogitChange {
  TokenId id = 0;
  float divisor = 1.0F;  // > 0
  float bias = 0.0F;     // finite
};

// How one row is sampled. Validated where requests enter; here: temperature finite and >= 0, top_p
// in (0, 1], min_p in [0, 1].
struct Sampling {
  float temperature = 0.0F;  // below kGreedyTemperature: greedy
  int top_k = 0;             // 0: all
  float top_p = 1.0F;
  float min_p = 0.0F;
  std::uint64_t seed = 0;
  std::int32_t position = 0;    // of the token to be drawn
  std::int32_t vocabulary = 0;  // ids below take part; in [1, row width], at most kMostWeights
  bool logprob = false;         // is wanted: one more pass over the row
  TokenId given = -1;           // an id below `vocabulary` is taken as it is, and none drawn
  std::span<const LogitChange> changes = {};  // of ids below vocabulary, each at most once
};

inline constexpr float kGreedyTemperature = 1e-3F;

struct SampledToken {
  TokenId id = -1;    // -1: an id below the vocabulary has NaN or +infinity, or all have -infinity
  float logprob = 0;  // where wanted: log softmax over the vocabulary, unchanged, no temperature
};

// Draws from `logits` [width].
SampledToken SampleRow(std::span<const float> logits, const Sampling& sampling);

// log softmax(logits[0, vocabulary))[id], summed in double.
float LogProbability(std::span<const float> logits, TokenId id);

// A number in [0, 1) that depends on (seed, position) alone: Philox 4x32-10 (Salmon et al., SC
// 2011), 24 bits.
constexpr float UniformAt(std::uint64_t seed, std::int32_t position) {
  const base::PhiloxCounter bits =
      base::Philox4x32({static_cast<std::uint32_t>(position), 0, 0, 0},
                       {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return static_cast<float>(bits[0] >> 8) * 0x1p-24F;
}

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_SAMPLING_H_
