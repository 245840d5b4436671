// SPDX-License-Identifier: Apache-2.0
//
// Products of matrices by cuBLASLt: y = x wT (+ bias, then gelu), or y += that.
//
//   x [rows, inputs], w [outputs, inputs], y [rows, outputs], bias [outputs], all row-major without
//   gaps, in memory of the device.
//
// cuBLASLt thinks in columns, and a row-major matrix is a column-major one lying on its side: what
// we ask for is yT = w xT, with w transposed and xT as it is. That is the one form that it offers
// for every type, fp8 included.
//
// For every product it knows dozens of algorithms, and asking which is best costs more than a small
// product itself. So we ask once for each kind of product, in advance, and keep the answer: a plan.
// The number of rows changes from step to step, so plans are made for a few numbers (RowBucket) and
// serve all rows up to that. Whether a plan's algorithm takes a smaller number too is asked when
// that number changes; there is no need to ask for the number of the bucket itself.
//
// cuBLASLt guesses which algorithm is fastest. Tune measures the ones that it thinks best.
#ifndef CODEGEN_CUDA_GEMM_H_
#define CODEGEN_CUDA_GEMM_H_

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <library_types.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "cuda/buffer.h"
#include "cuda/gemm_plan.h"
#include "cuda/gemm_tuning.h"
#include "cuda/library.h"
#include "cuda/stream.h"

namespace codegen::cuda {

// The number of rows whose plan serves `rows`: dense where steps of decoding lie, wider where a few
// rows more or less change little. Requires: rows >= 1.
std::int64_t RowBucket(std::int64_t rows);

// OK, or why this library cannot be used on the device of the calling thread.
absl::Status CheckUsable(const BlasFunctions& blas);

enum class GemmResult {
  kStore,  // y = p
  kAdd,    // y = y + p; only without gelu
};

struct GemmOperands {
  const void* x = nullptr;
  const void* w = nullptr;
  const void* bias = nullptr;  // of the type of y; ignored by an epilogue without
  void* y = nullptr;           // apart from the others
  GemmResult result = GemmResult::kStore;
};

// For one stream at a time, because all products share the workspace; and one thread.
class Gemm {
 public:
  // Takes 32 MiB of `budget`, which has to outlive it. RESOURCE_EXHAUSTED; FAILED_PRECONDITION if
  // cuBLASLt finds no usable device.
  static absl::StatusOr<Gemm> Create(const BlasFunctions& blas, MemoryBudget& budget);

  // Plans that are made from now on have the algorithms that `tuning` says, where cuBLASLt offers
  // them. Before: those that it thinks best.
  void BeginWith(std::shared_ptr<const GemmTuning> tuning) { tuning_ = std::move(tuning); }

  // Makes the plan for the bucket of `shape.rows` unless there is one. INVALID_ARGUMENT if no
  // algorithm takes such matrices: a row of each must be a multiple of 16 bytes.
  absl::Status Prepare(const GemmShape& shape);

  // Makes `algorithm` that of the plan. False if there is no plan, or cuBLASLt does not offer it.
  bool Choose(const GemmShape& shape, const cublasLtMatmulAlgo_t& algorithm);

  // Prepare, and then the plan's algorithm is the one that was fastest on `operands`, of which y is
  // overwritten; returns it. Runs each several times and waits for the stream: not for use within a
  // step. An error leaves the plan's algorithm as it was.
  absl::StatusOr<cublasLtMatmulAlgo_t> Tune(const GemmShape& shape, const GemmOperands& operands,
                                            const Stream& stream);

  // Puts the product into `stream`. Neither waits nor allocates, and may be captured. Addresses are
  // multiples of 16. INTERNAL if no plan serves the shape.
  absl::Status Multiply(const GemmShape& shape, const GemmOperands& operands, const Stream& stream);

  // How many plans there are.
  std::int64_t plans() const { return static_cast<std::int64_t>(plans_.size()); }

 private:
  Gemm(const BlasFunctions& blas, BlasHandle handle, DeviceBuffer workspace)
      : blas_(blas), handle_(std::move(handle)), workspace_(std::move(workspace)) {}

  absl::StatusOr<GemmPlan*> FindPlan(const GemmShape& shape) const;
  absl::Status Run(GemmPlan& plan, const GemmOperands& operands,
                   const cublasLtMatmulAlgo_t* algorithm, const Stream& stream) const;
  absl::StatusOr<double> Time(GemmPlan& plan, const GemmOperands& operands,
                              const cublasLtMatmulAlgo_t& algorithm, const Stream& stream) const;

  BlasFunctions blas_;
  BlasHandle handle_;
  DeviceBuffer workspace_;
  std::shared_ptr<const GemmTuning> tuning_ = std::make_shared<const GemmTuning>();
  absl::flat_hash_map<GemmShape, std::unique_ptr<GemmPlan>> plans_;  // by the rows of the bucket
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_GEMM_H_
