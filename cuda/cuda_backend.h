// SPDX-License-Identifier: Apache-2.0
//
// CudaBackend: the operations of backend/backend.h on a GPU.
//
// An operation only puts kernels into the backend's stream. Within Run, which is how a model takes
// a step, all arrays of the step come over in one copy before the first kernel, and the host waits
// once, for the sampled tokens. A step of decodes alone is a graph: captured the second time that
// so many rows come, rounded up to a bucket, and launched as one piece from then on. Steps with
// chunks of prompts, and those for which the device has no memory to keep a graph, are put into the
// stream kernel by kernel; with prompts that takes less time than the kernels do.
//
// Outside of Run, where tests call them, each operation is a step of its own and waits.
#ifndef CODEGEN_CUDA_CUDA_BACKEND_H_
#define CODEGEN_CUDA_CUDA_BACKEND_H_

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "backend/backend.h"
#include "backend/step.h"
#include "cuda/cuda_device.h"
#include "cuda/event.h"
#include "cuda/gemm.h"
#include "cuda/graph_cache.h"
#include "cuda/linear.h"
#include "cuda/scratch.h"
#include "cuda/step_arrays.h"
#include "cuda/stream.h"

namespace codegen::cuda {

// One owner; not safe for concurrent use. Requires, for all operations: y.rows() is set, and is
// that of x where rows correspond; x and y are different tensors; rows and heads are within the
// limits; the tensors of norms, and what Embed and Add write, hold sums, what Attend writes
// factors.
class CudaBackend {
 public:
  using Device = CudaDevice;

  // Takes all memory that steps use, but for what CUDA itself takes for graphs. `device` outlives
  // the backend. Errors: RESOURCE_EXHAUSTED; of cuBLASLt, where the device has it.
  static absl::StatusOr<CudaBackend> Create(CudaDevice& device, const backend::StepLimits& limits);

  // As backend/step.h says. INTERNAL if the step is larger than the limits; UNAVAILABLE if the
  // device is lost.
  absl::Status Run(const backend::Step& step, absl::FunctionRef<void()> compute);

  void Embed(std::span<const TokenId> tokens, const Embedding& e, Tensor& y);
  void LayerNorm(const Tensor& x, const Norm& n, Tensor& y);
  void RmsNorm(const Tensor& x, const Norm& n, Tensor& y);
  void Linear(const Tensor& x, const Weight& w, backend::Then then, Tensor& y);
  void Attend(const Tensor& x, const backend::Rows& rows, const backend::Heads& heads, KvLayer& kv,
              Tensor& y);
  void SwiGlu(const Tensor& x, Tensor& y);
  void Add(const Tensor& x, Tensor& y);
  void AllReduce(Tensor&) {}  // one process is one rank
  const Tensor& AllGather(const Tensor& x, Tensor&) { return x; }
  void Gather(const Tensor& x, std::span<const std::int32_t> rows, Tensor& y);
  void Sample(const Tensor& x, std::span<const backend::Sampling> sampling,
              std::span<backend::SampledToken> tokens);

  // The first failure of operations outside of Run.
  const absl::Status& status() const { return status_; }

  // How many graphs there are.
  std::int64_t graphs() const { return static_cast<std::int64_t>(graphs_.size()); }

 private:
  // More are more than a service with steady load needs.
  static constexpr std::size_t kMostGraphs = 64;

  // What steps that one graph serves have in common.
  struct GraphKey {
    int rows;
    int logit_rows;
    bool sampled;
    auto operator<=>(const GraphKey&) const = default;
  };

  CudaBackend(CudaDevice& device, Stream stream, Event done, std::optional<Gemm> gemm,
              StepArrays arrays, Scratch scratch);

  // Puts work(rows) into the stream, for rows that are `count`; outside of a step, where there are
  // `alone_rows`, it brings the arrays first and waits.
  template <class Work>
  void Put(const char* what, RowCount count, std::int64_t alone_rows, const Work& work);
  // The same for an operation that writes y.
  template <class Work>
  void Put(const char* what, RowCount count, Tensor& y, const Work& work);

  absl::Status Bring(const backend::Step& step);
  absl::Status PutStep(const backend::Step& step, absl::FunctionRef<void()> compute);
  absl::Status Wait();
  void Keep(absl::Status status);

  absl::Status PutAttend(const Tensor& x, const backend::Heads& heads, KvLayer& kv,
                         const LinearRows& rows, Tensor& y);

  CudaDevice* device_;
  Stream stream_;
  Event done_;
  std::optional<Gemm> gemm_;
  StepArrays arrays_;
  Scratch scratch_;
  std::set<GraphKey> seen_;  // kinds of steps that have run
  GraphCache<GraphKey> graphs_{kMostGraphs};

  bool in_step_ = false;
  bool planned_ = false;  // the splits of the step's decodes
  StepShape capacity_;    // of the step
  absl::Status status_;   // of the step; outside of one, of all that came before
};

static_assert(backend::Backend<CudaBackend>);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_CUDA_BACKEND_H_
