// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "backend/weight.h"
#include "cuda/device/reduce.cuh"
#include "cuda/device/thread.cuh"
#include "cuda/kernels/sample.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

using backend::LogitChange;
using backend::SampledToken;
using backend::Sampling;

constexpr int kSampleThreads = 1024;
constexpr int kColumnsPerThread = 16;
constexpr int kListed = 4096;
constexpr float kNear = -10.0F;  // exponents from here on are listed

// Some logits; where they are a row, the index is the id.
struct Logits {
  const float* data;
  int count;
};

// An integer for each number, in the same order; equal zeros have one.
__device__ std::uint32_t Key(float x) {
  const std::uint32_t bits = __float_as_uint(x == 0.0F ? 0.0F : x);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}

__device__ float FromKey(std::uint32_t key) {
  return __uint_as_float((key >> 31) != 0 ? key & 0x7FFFFFFFU : ~key);
}

// Adds each of the values over the threads of the block.
template <std::size_t kCount>
__device__ void BlockSums(std::uint64_t (&values)[kCount]) {
  CODEGEN_SHARED(std::uint64_t, partial, kCount * kWarpLanes);
#pragma unroll
  for (int i = 0; i < static_cast<int>(kCount); ++i) {
    values[i] = WarpSum(values[i]);
    if (Lane() == 0) partial[i * kWarpLanes + Warp()] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < static_cast<int>(kCount); ++i)
    values[i] = WarpSum(Lane() < Warps() ? partial[i * kWarpLanes + Lane()] : std::uint64_t{0});
  __syncthreads();
}

struct Largest {
  float logit;
  int id;  // the lowest among equals; -1: one is NaN or +infinity, or all are -infinity
};

struct Greatest {
  __device__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const {
    return a > b ? a : b;
  }
};

__device__ Largest FindLargest(Logits row) {
  constexpr std::uint32_t kInvalid = ~0U;
  std::uint64_t best = 0;  // key, then the lowest id
#pragma unroll 4
  for (int i = Thread(); i < row.count; i += Threads()) {
    const float x = row.data[i];
    const std::uint32_t key = x < INFINITY ? Key(x) : kInvalid;
    best = Greatest()(best, std::uint64_t{key} << 32 | ~static_cast<std::uint32_t>(i));
  }
  best = BlockFold(best, std::uint64_t{0}, Greatest());
  const auto key = static_cast<std::uint32_t>(best >> 32);
  if (key == kInvalid || key == Key(-INFINITY)) return {0, -1};
  return {FromKey(key), static_cast<int>(~static_cast<std::uint32_t>(best))};
}

// The two ways to measure a prefix.
struct Counting {
  __device__ std::uint64_t operator()(float /*logit*/) const { return 1; }
};

struct Weighing {
  float largest;
  float temperature;

  __device__ float Exponent(float logit) const {
    return __fdiv_rn(__fsub_rn(logit, largest), temperature);
  }
  __device__ std::uint64_t operator()(float logit) const {
    return backend::Weight(Exponent(logit));
  }
};

// What one pass over the row tells: the weight of all candidates and of those near the largest, and
// how many of these there are, which are listed as far as there is room.
struct Survey {
  std::uint64_t weight;
  std::uint64_t near_weight;
  int near_count;
};

// Lists the logits of the lanes that want it, in any order.
__device__ void List(bool wanted, float logit, int& count, float* list) {
  const unsigned lanes = __ballot_sync(kAllLanes, wanted);
  if (lanes == 0) return;
  int place = Lane() == 0 ? atomicAdd(&count, __popc(lanes)) : 0;
  place = __shfl_sync(kAllLanes, place, 0) + __popc(lanes & ((1U << Lane()) - 1));
  if (wanted && place < kListed) list[place] = logit;
}

__device__ Survey SurveyRow(Logits row, const Weighing& weighing, float* list) {
  CODEGEN_SHARED(int, count, 1);
  if (Thread() == 0) count[0] = 0;
  __syncthreads();
  std::uint64_t weights[2] = {};
  for (int i = Thread(); i - Lane() < row.count; i += Threads()) {
    const float logit = i < row.count ? row.data[i] : -INFINITY;
    const bool near = weighing.Exponent(logit) >= kNear;
    const std::uint64_t weight = weighing(logit);
    weights[0] += weight;
    weights[1] += near ? weight : 0;
    List(near, logit, count[0], list);
  }
  BlockSums(weights);
  return {weights[0], weights[1], count[0]};
}

// An interval of keys, both ends in it.
struct Keys {
  std::uint32_t lowest;
  std::uint32_t highest;
};

// A prefix of the candidates: all above `key`, and the first `ties` of those at it.
struct Prefix {
  std::uint32_t key;
  std::uint64_t ties;
  std::uint64_t measure;
};

// Returns the shortest prefix that measures at least `enough`. Requires: enough > 0; no candidate
// lies above keys.highest; those from keys.lowest on measure enough.
template <class Measure>
__device__ Prefix FindPrefix(Logits candidates, Keys keys, std::uint64_t enough,
                             const Measure& measure) {
  constexpr int kPivots = 3;
  std::uint64_t above = 0;  // the measure of what lies above keys.highest
  while (keys.lowest < keys.highest) {
    std::uint32_t pivots[kPivots];
    std::uint64_t sums[kPivots] = {};  // from the pivot to keys.highest
    const std::uint64_t width = keys.highest - keys.lowest;
#pragma unroll
    for (int j = 0; j < kPivots; ++j)
      pivots[j] = keys.lowest +
                  static_cast<std::uint32_t>((width * static_cast<unsigned>(j + 1) + kPivots) >> 2);
    for (int i = Thread(); i < candidates.count; i += Threads()) {
      const std::uint32_t key = Key(candidates.data[i]);
      if (key < pivots[0] || key > keys.highest) continue;
      const std::uint64_t size = measure(candidates.data[i]);
#pragma unroll
      for (int j = 0; j < kPivots; ++j) sums[j] += key >= pivots[j] ? size : 0;
    }
    BlockSums(sums);
    const std::uint64_t missing = enough - above;
    int reached = kPivots - 1;
    while (reached >= 0 && sums[reached] < missing) --reached;
#pragma unroll
    for (int j = kPivots - 1; j >= 0; --j) {
      if (j == reached) keys.lowest = pivots[j];
      if (j > reached) {
        keys.highest = pivots[j] - 1;
        above = enough - missing + sums[j];
      }
    }
  }
  const std::uint64_t one = measure(FromKey(keys.highest));
  const std::uint64_t ties = (enough - above + one - 1) / one;
  return {keys.highest, ties, above + ties * one};
}

__device__ std::uint64_t WeightAbove(Logits candidates, std::uint32_t key,
                                     const Weighing& weighing) {
  std::uint64_t weight = 0;
  for (int i = Thread(); i < candidates.count; i += Threads())
    if (Key(candidates.data[i]) > key) weight += weighing(candidates.data[i]);
  return BlockSum(weight);
}

__device__ std::uint64_t WeightOfHeavy(Logits candidates, std::uint64_t least,
                                       const Weighing& weighing) {
  std::uint64_t total = 0;
  for (int i = Thread(); i < candidates.count; i += Threads()) {
    const std::uint64_t weight = weighing(candidates.data[i]);
    total += weight >= least ? weight : 0;
  }
  return BlockSum(total);
}

// Returns the id of the `nth` candidate, counted from 1, whose key is `key`. Each warp counts them
// in its share of the row, and the one in whose share the nth lies looks for it.
__device__ int FindId(Logits row, std::uint32_t key, std::uint64_t nth) {
  CODEGEN_SHARED(int, counts, kWarpLanes);
  CODEGEN_SHARED(int, id, 1);
  const int share = (row.count + Threads() - 1) / Threads() * kWarpLanes;
  const int first = Warp() * share;
  const int last = min(first + share, row.count);
  int count = 0;
#pragma unroll 4
  for (int i = first + Lane(); i < last; i += kWarpLanes) count += Key(row.data[i]) == key ? 1 : 0;
  count = WarpSum(count);
  if (Lane() == 0) counts[Warp()] = count;
  __syncthreads();

  const int before = WarpSum(Lane() < Warp() ? counts[Lane()] : 0);
  int left = static_cast<int>(nth) - before;
  if (left > 0 && left <= count) {
    for (int i = first + Lane(); left > 0; i += kWarpLanes) {
      const bool match = i < last && Key(row.data[i]) == key;
      const unsigned lanes = __ballot_sync(kAllLanes, match);
      if (match && __popc(lanes & ((1U << Lane()) - 1)) == left - 1) id[0] = i;
      left -= __popc(lanes);
    }
  }
  __syncthreads();
  return id[0];
}

// Returns the id drawn from a row whose largest logit is finite, temperature above greedy.
__device__ int Draw(Logits row, const Sampling& sampling, float largest) {
  CODEGEN_SHARED(float, list, kListed);
  const Weighing weighing{largest, sampling.temperature};
  const Survey survey = SurveyRow(row, weighing, list);
  const bool complete = survey.near_count <= kListed;
  const Logits near{list, survey.near_count};
  const auto part = [&](bool among_near) { return complete && among_near ? near : row; };

  Keys keys{Key(-INFINITY),
            Key(largest)};  // a prefix once kept leaves fewer for the next to end at
  std::uint64_t total = survey.weight;
  if (sampling.top_k > 0 && sampling.top_k < row.count) {
    const auto most = static_cast<std::uint64_t>(sampling.top_k);
    const Logits candidates = part(sampling.top_k <= survey.near_count);
    const Prefix kept = FindPrefix(candidates, keys, most, Counting());
    total = WeightAbove(candidates, kept.key, weighing) + kept.ties * weighing(FromKey(kept.key));
    keys.lowest = kept.key;
  }
  if (sampling.top_p < 1.0F) {
    const std::uint64_t enough = backend::WeightOfTopP(sampling.top_p, total);
    const Prefix kept = FindPrefix(part(enough <= survey.near_weight), keys, enough, weighing);
    total = kept.measure;
    keys.lowest = kept.key;
  }
  if (sampling.min_p > 0) {
    const std::uint64_t least = backend::WeightOfMinP(sampling.min_p);
    if (weighing(FromKey(keys.lowest)) < least)  // else all that is kept is heavy enough
      total = WeightOfHeavy(part(least > backend::Weight(kNear)), least, weighing);
  }
  const float uniform = backend::UniformAt(sampling.seed, sampling.position);
  const std::uint64_t enough = backend::WeightOfDraw(uniform, total);
  const Prefix drawn = FindPrefix(part(enough <= survey.near_weight), keys, enough, weighing);
  return FindId(row, drawn.key, drawn.ties);
}

// What backend::Sampling says of logits before all else: the bits of the CPU, so not fused.
__device__ float Changed(float logit, LogitChange change) {
  const float scaled =
      logit > 0 ? __fdiv_rn(logit, change.divisor) : __fmul_rn(logit, change.divisor);
  return __fadd_rn(scaled, change.bias);
}

// Makes the changes in a row; `unchanged` is what stood there.
__device__ void Change(float* row, std::span<const LogitChange> changes, float* unchanged) {
  for (int i = Thread(); i < static_cast<int>(changes.size()); i += Threads()) {
    const LogitChange change = changes.data()[i];
    float& logit = row[change.id];
    unchanged[i] = logit;
    logit = Changed(logit, change);
  }
  __syncthreads();
}

__device__ void Undo(float* row, std::span<const LogitChange> changes, const float* unchanged) {
  __syncthreads();  // all have read the row
  for (int i = Thread(); i < static_cast<int>(changes.size()); i += Threads())
    row[changes.data()[i].id] = unchanged[i];
  __syncthreads();
}

// log softmax(row)[id], of use to thread 0.
__device__ float LogProbability(Logits row, int id, float largest) {
  const std::uint64_t total = WeightAbove(row, 0, {largest, 1.0F});
  if (Thread() != 0) return 0;
  const double sum = static_cast<double>(total) / (std::uint64_t{1} << backend::kWeightBits);
  return static_cast<float>(static_cast<double>(row.data[id]) - largest - log(sum));
}

__global__ void __launch_bounds__(kSampleThreads) SampleKernel(SampleArgs args) {
  const auto row = static_cast<std::ptrdiff_t>(blockIdx.x);
  if (row >= *args.rows) return;
  const Sampling sampling = args.sampling[row];
  float* const data = args.logits + row * args.columns;
  const Logits logits{data, sampling.vocabulary};
  const std::span<const LogitChange> changes = sampling.changes;
  float* const unchanged =
      changes.empty() ? nullptr : args.unchanged + (changes.data() - args.changes);

  if (!changes.empty()) Change(data, changes, unchanged);
  const Largest largest = FindLargest(logits);
  SampledToken token;
  if (largest.id >= 0) {
    token.id = largest.id;
    if (sampling.given >= 0) {
      token.id = sampling.given;
    } else if (sampling.temperature >= backend::kGreedyTemperature) {
      token.id = Draw(logits, sampling, largest.logit);
    }
  }
  if (!changes.empty()) Undo(data, changes, unchanged);
  if (token.id >= 0 && sampling.logprob) {
    const float most = changes.empty() ? largest.logit : FindLargest(logits).logit;
    token.logprob = LogProbability(logits, token.id, most);
  }
  if (Thread() == 0) args.tokens[row] = token;
}

}  // namespace

cudaError_t Sample(const SampleArgs& args, cudaStream_t stream) {
  if (args.row_capacity == 0) return cudaSuccess;
  const int wanted = (args.columns + kColumnsPerThread - 1) / kColumnsPerThread;
  const int threads =
      std::clamp((wanted + kWarpLanes - 1) / kWarpLanes * kWarpLanes, kWarpLanes, kSampleThreads);
  return Launch(&SampleKernel,
                {.grid = dim3(static_cast<unsigned>(args.row_capacity)),
                 .block = dim3(static_cast<unsigned>(threads)),
                 .name = "sample"},
                stream, args);
}

}  // namespace codegen::cuda
