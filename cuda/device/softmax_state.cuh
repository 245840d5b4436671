// SPDX-License-Identifier: Apache-2.0
//
// Softmax over scores that come in parts (online softmax: Milakov and Gimelshein 2018).
//
// After any of the scores, `max` is their maximum and `sum` that of exp2(score - max); whoever sums
// values along with them, weighted by exp2(score - max), multiplies that sum by what Raise returns:
//
//   const float factor = state.Raise(largest of the new scores);
//   const float weight = SoftmaxWeight(score, state.max);      // of each
//   state.sum += weight;
//   values = values * factor + weight * value;                 // at the end: values / state.sum
//
// Scores are in units of ln 2, so that exponents are of two: multiplied by kLog2E beforehand. One
// that must not count is -infinity. Parts where none counts change no bit of the state, so a row's
// result does not depend on how many of them there are. NaN stays: as a score it becomes a weight
// and a sum of NaN, which no factor takes away.
#ifndef CODEGEN_CUDA_DEVICE_SOFTMAX_STATE_CUH_
#define CODEGEN_CUDA_DEVICE_SOFTMAX_STATE_CUH_

#include <cmath>

#include "cuda/device/thread.cuh"

namespace codegen::cuda {

inline constexpr float kLog2E = 1.44269504088896340736F;

// exp2(score - max); 0 for a score of -infinity, even if that is the maximum.
__device__ inline float SoftmaxWeight(float score, float max) {
  return exp2f(score - (max == -INFINITY ? 0.0F : max));
}

struct SoftmaxState {
  float max = -INFINITY;
  float sum = 0;

  // Takes a maximum of new scores in; returns what every earlier weight has to be multiplied by.
  __device__ float Raise(float new_max) {
    const float raised = fmaxf(max, new_max);
    const float factor = SoftmaxWeight(max, raised);
    max = raised;
    sum *= factor;
    return factor;
  }
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_DEVICE_SOFTMAX_STATE_CUH_
