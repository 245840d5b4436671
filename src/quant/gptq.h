// SPDX-License-Identifier: Apache-2.0
//
// Rounding to int4 that looks at what the weights are multiplied by: GPTQ (Frantar et al. 2022).
//
// A row w becomes the row q of format.h for which the squared error of its outputs, summed over
// inputs x that are like those of a text, is small: (w - q) H (w - q)T with H = sum x xT. Weights
// are rounded from the first to the last, each after it has taken in what it can make good of the
// errors of those before it. With H = R RT, R upper triangular,
//
//   q[j] = round(w[j] + sum over i < j of (w[i] - q[i]) A[i, j]),   A[i, j] = R[i, j] / R[j, j].
//
// This is the paper's algorithm without its inverse of H: the errors that it divides by the
// diagonal of R^-1 and subtracts from all weights to the right are (w - q) R, so what has reached
// weight j by the time it is rounded is the sum above (Chee et al. 2023 show the same, as LDLQ).
// One Cholesky factorisation is left of two and an inversion. Scale and minimum of a group are
// fitted when its first weight is reached, to what the paper's weights are by then: w plus the
// sums over the groups before, times the inverse of the group's own part of A with a diagonal of 1.
//
// H is damped by a hundredth of its mean diagonal, which also serves inputs that are always 0.
// What is not done: rounding in the order of the diagonal of H, which would tear groups apart, and
// weighing the fit by that diagonal, which moved the divergence by 3 % at most, either way.
#ifndef CODEGEN_QUANT_GPTQ_H_
#define CODEGEN_QUANT_GPTQ_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <span>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "quant/format.h"

namespace codegen::quant {

// H = sum x xT over the inputs x of one matrix, in float64.
class Hessian {
 public:
  // Errors: RESOURCE_EXHAUSTED naming the bytes.
  static absl::StatusOr<Hessian> Make(std::int64_t inputs);

  std::int64_t inputs() const { return inputs_; }

  // Adds the rows of x [rows, inputs], the same to the bit on any number of threads. Products of
  // one call are summed in float32, so a call should bring some hundreds of rows.
  void Add(std::span<const float> x, base::ThreadPool& pool);

 private:
  friend class Gptq;
  std::int64_t inputs_ = 0;
  base::AlignedBuffer elements_;  // [inputs, inputs] f64, of which j <= i count
};

// Rounds the rows of matrices that read the same inputs. Immutable; safe for concurrent use.
class Gptq {
 public:
  // Errors: DATA_LOSS (H is not finite, or cannot be factorised however much it is damped).
  static absl::StatusOr<Gptq> Create(Hessian hessian, base::ThreadPool& pool);

  std::int64_t inputs() const { return hessian_.inputs(); }

  // Rounds rows [count, inputs] to codes [count, inputs] in [0, 15] and scales [count,
  // Int4Groups(inputs)]. Each row depends on itself alone. Groups that float16 cannot hold, or that
  // are not finite, are those of QuantizeInt4, and no weight makes good for them.
  void Round(std::span<const float> rows, std::span<std::uint8_t> codes,
             std::span<Int4Scale> scales) const;

 private:
  explicit Gptq(Hessian hessian) : hessian_(std::move(hessian)) {}

  Hessian hessian_;  // whose elements i < j have become A
};

}  // namespace codegen::quant

#endif  // CODEGEN_QUANT_GPTQ_H_
