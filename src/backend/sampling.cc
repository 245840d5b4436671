// SPDX-License-Identifier: Apache-2.0
//
// Sampling without sorting.
//
// top_k, top_p and the draw itself all ask for a prefix of the candidates in the order (logit
// descending, id ascending): the first k; the shortest that weighs at least top_p of the total; the
// shortest that weighs more than u of it, whose last member is the token drawn. A prefix does not
// need its inside sorted, so each is found by selection (Hoare's quickselect, with sums of weights
// beside the counts): expected O(vocabulary) whatever the distribution, where sorting 51,200
// candidates costs a hundred times the rest of the row.
//
// Weights are exp((logit - largest) / temperature) in float32, their sums in double. Candidates of
// weight below exp(-60) are left out at once: even 2^20 of them weigh less than 1e-19 beside the
// largest, whose weight is 1, and so vanish in a double; of a peaked row little else remains.
#include "backend/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/philox.h"

namespace codegen::backend {
namespace {

constexpr float kNegligible = -60.0F;

struct Candidate {
  float logit;
  float weight;  // in (0, 1]
  TokenId id;
};

struct Prefix {
  std::size_t size;
  double weight;
};

bool Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

double TotalWeight(std::span<const Candidate> candidates) {
  double total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  return total;
}

// Returns the largest logit's id, the lowest among equals; -1 if there is none or one is NaN or
// +infinity.
TokenId Largest(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float largest = -kInfinity;
  std::size_t id = logits.size();
  bool valid = true;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    valid &= logits[i] < kInfinity;
    if (logits[i] > largest) {
      largest = logits[i];
      id = i;
    }
  }
  return valid && id < logits.size() ? static_cast<TokenId>(id) : -1;
}

std::vector<Candidate> Candidates(std::span<const float> logits, float largest, float temperature) {
  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float exponent = (logits[i] - largest) / temperature;
    if (exponent >= kNegligible)
      candidates.push_back({logits[i], std::exp(exponent), static_cast<TokenId>(i)});
  }
  return candidates;
}

// Moves the shortest prefix whose weight satisfies `reached` (all candidates if none does) to the
// front, its last member to its end. Requires: candidates not empty; `reached` stays true from some
// weight on.
//
// Probes lengths 64, 320, 1344, ... before it bisects, as most rows are decided by a few
// candidates.
template <class Reached>
Prefix ShortestPrefix(std::span<Candidate> candidates, Reached reached) {
  std::size_t first = 0;  // the prefix is longer than `first` and at most `last`
  std::size_t last = candidates.size();
  std::size_t step = 64;
  double before = 0;  // weight of candidates[0, first)
  while (last - first > 1) {
    const std::size_t half = std::min(step, (last - first) / 2);
    const auto begin = candidates.begin() + static_cast<std::ptrdiff_t>(first);
    const auto middle = begin + static_cast<std::ptrdiff_t>(half);
    std::nth_element(begin, middle, candidates.begin() + static_cast<std::ptrdiff_t>(last), Before);
    const double weight = before + TotalWeight({begin, middle});
    if (reached(weight)) {
      last = first + half;
    } else {
      first += half;
      before = weight;
      step *= 4;
    }
  }
  return {first + 1, before + candidates[first].weight};
}

TokenId Draw(std::vector<Candidate> candidates, const Sampling& sampling) {
  std::span<Candidate> kept(candidates);
  if (const auto top_k = static_cast<std::size_t>(sampling.top_k);
      top_k > 0 && top_k < kept.size()) {
    std::nth_element(kept.begin(), kept.begin() + sampling.top_k, kept.end(), Before);
    kept = kept.first(top_k);
  }
  double total = TotalWeight(kept);
  if (sampling.top_p < 1.0F) {
    const double enough = sampling.top_p * total;
    const Prefix nucleus =
        ShortestPrefix(kept, [enough](double weight) { return weight >= enough; });
    kept = kept.first(nucleus.size);
    total = nucleus.weight;
  }
  const double at = UniformAt(sampling.seed, sampling.position) * total;
  const Prefix drawn = ShortestPrefix(kept, [at](double weight) { return weight > at; });
  return kept[drawn.size - 1].id;
}

}  // namespace

SampledToken SampleRow(std::span<const float> logits, const Sampling& sampling) {
  CODEGEN_DCHECK(sampling.vocabulary > 0);
  CODEGEN_DCHECK(static_cast<std::size_t>(sampling.vocabulary) <= logits.size());
  CODEGEN_DCHECK(sampling.top_k >= 0);
  const std::span<const float> row = logits.first(static_cast<std::size_t>(sampling.vocabulary));
  TokenId id = Largest(row);
  if (id < 0) return {};
  if (sampling.temperature >= kGreedyTemperature)
    id = Draw(Candidates(row, row[static_cast<std::size_t>(id)], sampling.temperature), sampling);
  return {.id = id, .logprob = LogProbability(row, id)};
}

float LogProbability(std::span<const float> logits, TokenId id) {
  CODEGEN_DCHECK(id >= 0 && static_cast<std::size_t>(id) < logits.size());
  const float largest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp(logit - largest);
  return static_cast<float>(double{logits[static_cast<std::size_t>(id)]} - double{largest} -
                            std::log(total));
}

float UniformAt(std::uint64_t seed, std::int32_t position) {
  const base::PhiloxCounter bits =
      base::Philox4x32({static_cast<std::uint32_t>(position), 0, 0, 0},
                       {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return static_cast<float>(bits[0] >> 8) * 0x1p-24F;
}

}  // namespace codegen::backend
