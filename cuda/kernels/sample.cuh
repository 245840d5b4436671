// SPDX-License-Identifier: Apache-2.0
//
// Sample: tokens[i] drawn from softmax(logits[i]) as sampling[i] says: the token that
// backend/sampling.h defines, to the last bit of the comparison that decides it.
//
//   logits [rows, columns] f32, afterwards as before
//   sampling [rows] backend::Sampling
//   tokens [rows] backend::SampledToken
//
// Why both devices agree: a token depends on the order of the candidates (logit descending, id
// ascending), on whole-number weights, whose sums are exact in any order (backend/weight.h), on two
// roundings of f32 (subtract the largest logit, divide by the temperature; IEEE on both) and on
// Philox. Only `logprob` may differ, in the last places: it is summed from weights here, from
// exp() there.
//
// No sort: top_k, top_p, min_p and the draw each ask for a prefix of the candidates that measures
// at least so much (counting, or weighing). Its last logit is the largest L for which all
// candidates of L and more measure enough, and is found by pivots: logits are mapped to integers in
// the same order, and the interval that holds L is cut into four by three pivots, until it holds
// one integer. Each cut sums the candidates inside the interval only; at most 16 cuts are needed.
// Of candidates with equal logits a prefix holds the first few; how many follows from its measure.
// The id is looked up at the very end, in the order of ids.
//
// Geometry: a block of one thread per 16 columns, up to 1024, owns a row. The candidates within
// exp(-10) of the largest are listed in shared memory (up to 4096), and a prefix that ends among
// them, as nearly all do, is searched there. The row itself is then read 4 times (largest logit,
// weights, probability, id), greedy 2 times: 4 columns bytes from memory, the rest from the
// second-level cache. A flat row, whose prefix ends beyond the list, is read 16 times per search.
//
// Changes of logits (penalties, bias) are made in the row itself before all that and undone before
// the log-probability is taken; of ids that are few and distinct, each thread takes some. One that
// reads the row 4 times reads it once more for the largest unchanged logit, if that is asked for.
//
// A new rule that leaves a prefix is one more search or comparison in Draw.
#ifndef CODEGEN_CUDA_KERNELS_SAMPLE_CUH_
#define CODEGEN_CUDA_KERNELS_SAMPLE_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "backend/sampling.h"

namespace codegen::cuda {

// Pointers are to memory of the device.
struct SampleArgs {
  float* logits;
  const backend::Sampling* sampling;    // [row_capacity]; vocabulary in [1, columns]
  const backend::LogitChange* changes;  // where those of all rows lie
  float* unchanged;                     // [changes]
  backend::SampledToken* tokens;        // [row_capacity]
  const std::int32_t* rows;             // how many there are
  int row_capacity;                     // how many there can be
  int columns;
};

cudaError_t Sample(const SampleArgs& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_SAMPLE_CUH_
