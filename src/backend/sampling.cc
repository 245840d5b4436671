// SPDX-License-Identifier: Apache-2.0
//
// Sampling without sorting.
//
// top_k, top_p, min_p and the draw itself all ask for a prefix of the candidates in the order
// (logit descending, id ascending): the first k; the shortest that weighs at least top_p of the
// total; all that weigh at least min_p; the shortest that weighs more than u of the rest, whose
// last member is the token drawn. A prefix does not need its inside sorted, so each is found by
// selection (Hoare's quickselect, with sums of weights beside the counts), expected O(vocabulary)
// whatever the distribution.
//
// Candidates that weigh nothing beside the largest (weight.h) are left out at once; of a peaked row
// little else remains.
#include "backend/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "backend/weight.h"
#include "base/check.h"

namespace codegen::backend {
namespace {

constexpr std::uint64_t kNear = Weight(-10.0F);

struct Candidate {
  float logit;
  TokenId id;
  std::uint64_t weight;
};

struct Prefix {
  std::size_t size;
  double weight;
};

bool Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

std::uint64_t TotalWeight(std::span<const Candidate> candidates) {
  std::uint64_t total = 0;
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

// The candidates, those of weight kNear and more before the rest. One predictable pass tells them
// apart, and as they are few, all that follows is usually decided among them: 2.2 -> 0.9 ms for a
// peaked row of 50,257 at temperature 1 (one core, RelWithDebInfo).
struct Candidates {
  std::vector<Candidate> all;
  std::size_t near = 0;
};

Candidates MakeCandidates(std::span<const float> logits, float largest, float temperature) {
  Candidates candidates;
  std::vector<Candidate>& all = candidates.all;
  all.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::uint64_t weight = Weight((logits[i] - largest) / temperature);
    if (weight > 0) all.push_back({logits[i], static_cast<TokenId>(i), weight});
  }
  const auto far =
      std::partition(all.begin(), all.end(), [](const Candidate& c) { return c.weight >= kNear; });
  candidates.near = static_cast<std::size_t>(far - all.begin());
  return candidates;
}

// The part of the candidates that a selection still has to look at: what lies before it ranks
// before all of it.
struct Range {
  std::size_t first;
  std::size_t last;
};

// Moves the first `size` candidates of [range.first, range.last) in order to its front, the next
// one after them.
void Select(std::span<Candidate> candidates, Range range, std::size_t size) {
  const auto begin = candidates.subspan(range.first, range.last - range.first);
  std::nth_element(begin.begin(), begin.begin() + static_cast<std::ptrdiff_t>(size), begin.end(),
                   Before);
}

void KeepLargest(std::size_t count, Candidates& candidates) {
  const std::size_t size = candidates.all.size();
  const bool among_near = count < candidates.near;
  const Range range = among_near ? Range{0, candidates.near} : Range{candidates.near, size};
  if (count < size) Select(candidates.all, range, count - range.first);
  candidates.all.resize(std::min(count, size));
  candidates.near = std::min(count, candidates.near);
}

// Shortens the candidates to their shortest prefix that weighs at least `enough`, the last in order
// at its end, and returns its weight. Requires: they all weigh at least that.
//
// Probes lengths 64, 320, 1344, ... before it bisects, as most rows are decided by a few
// candidates.
std::uint64_t KeepPrefix(std::uint64_t enough, Candidates& candidates) {
  const std::span<Candidate> all(candidates.all);
  const std::uint64_t near_weight = TotalWeight(all.first(candidates.near));
  const bool among_near = candidates.near == all.size() || near_weight >= enough;
  Range range = among_near ? Range{0, candidates.near} : Range{candidates.near, all.size()};
  std::uint64_t before = among_near ? 0 : near_weight;  // weight of all[0, range.first)
  std::size_t step = 64;
  while (range.last - range.first > 1) {
    const std::size_t half = std::min(step, (range.last - range.first) / 2);
    Select(all, range, half);
    const std::uint64_t weight = before + TotalWeight(all.subspan(range.first, half));
    if (weight >= enough) {
      range.last = range.first + half;
    } else {
      range.first += half;
      before = weight;
      step *= 4;
    }
  }
  const std::uint64_t weight = before + all[range.first].weight;
  candidates.all.resize(range.last);
  candidates.near = std::min(range.last, candidates.near);
  return weight;
}

// Keeps the candidates that weigh at least `least`, which are a prefix: weights fall as logits do.
void KeepHeavy(std::uint64_t least, Candidates& candidates) {
  std::erase_if(candidates.all, [least](const Candidate& c) { return c.weight < least; });
  candidates.near = std::min(candidates.near, candidates.all.size());
}

TokenId Draw(Candidates candidates, const Sampling& sampling) {
  if (sampling.top_k > 0) KeepLargest(static_cast<std::size_t>(sampling.top_k), candidates);
  std::uint64_t total = TotalWeight(candidates.all);
  if (sampling.top_p < 1.0F) total = KeepPrefix(WeightOfTopP(sampling.top_p, total), candidates);
  if (sampling.min_p > 0) {
    KeepHeavy(WeightOfMinP(sampling.min_p), candidates);
    total = TotalWeight(candidates.all);
  }
  KeepPrefix(WeightOfDraw(UniformAt(sampling.seed, sampling.position), total), candidates);
  return candidates.all.back().id;
}

// The id drawn from a row of the vocabulary, or given; -1 as in SampledToken.
TokenId DrawFrom(std::span<const float> row, const Sampling& sampling) {
  const TokenId largest = Largest(row);
  if (largest < 0) return largest;
  if (sampling.given >= 0) return sampling.given;
  if (sampling.temperature < kGreedyTemperature) return largest;
  return Draw(MakeCandidates(row, row[static_cast<std::size_t>(largest)], sampling.temperature),
              sampling);
}

std::vector<float> Changed(std::span<const float> row, std::span<const LogitChange> changes) {
  std::vector<float> changed(row.begin(), row.end());
  for (const LogitChange& change : changes) {
    float& logit = changed[static_cast<std::size_t>(change.id)];
    logit = (logit > 0 ? logit / change.divisor : logit * change.divisor) + change.bias;
  }
  return changed;
}

}  // namespace

SampledToken SampleRow(std::span<const float> logits, const Sampling& sampling) {
  CODEGEN_DCHECK(sampling.vocabulary > 0);
  CODEGEN_DCHECK(static_cast<std::size_t>(sampling.vocabulary) <= logits.size());
  CODEGEN_DCHECK(sampling.top_k >= 0);
  CODEGEN_DCHECK(sampling.min_p >= 0 && sampling.min_p <= 1);
  CODEGEN_DCHECK(sampling.given < sampling.vocabulary);
  const std::span<const float> row = logits.first(static_cast<std::size_t>(sampling.vocabulary));
  const TokenId id = sampling.changes.empty() ? DrawFrom(row, sampling)
                                              : DrawFrom(Changed(row, sampling.changes), sampling);
  if (id < 0) return {};
  return {.id = id, .logprob = sampling.logprob ? LogProbability(row, id) : 0};
}

float LogProbability(std::span<const float> logits, TokenId id) {
  CODEGEN_DCHECK(id >= 0 && static_cast<std::size_t>(id) < logits.size());
  const float largest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp(logit - largest);
  return static_cast<float>(double{logits[static_cast<std::size_t>(id)]} - double{largest} -
                            std::log(total));
}

}  // namespace codegen::backend
