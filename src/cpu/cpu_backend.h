// SPDX-License-Identifier: Apache-2.0
//
// CpuBackend: the operations of backend/backend.h on the CPU. Each one splits its work into
// independent parts, for the pool's threads to take one after the other, and calls a kernel of
// kernels.h per part; small ones run on the calling thread. How work is split never changes a bit
// of the result.
#ifndef CODEGEN_CPU_CPU_BACKEND_H_
#define CODEGEN_CPU_CPU_BACKEND_H_

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "backend/backend.h"
#include "backend/rows.h"
#include "backend/sampling.h"
#include "backend/step.h"
#include "codegen/request.h"
#include "comm/communicator.h"
#include "cpu/cpu_device.h"

namespace codegen::cpu {

// Safe to use from several threads on different tensors and caches: their steps take turns at the
// pool. Requires, for all: y.rows() is set, and is that of x where rows correspond; x and y are
// different tensors.
class CpuBackend {
 public:
  using Device = CpuDevice;

  // `device` outlives the backend. Without a communicator the backend is alone.
  explicit CpuBackend(CpuDevice& device, std::shared_ptr<comm::Communicator> communicator = {})
      : device_(device),
        pool_(device.pool()),
        kernels_(device.kernels()),
        communicator_(std::move(communicator)) {}

  // Returns what the communicator failed with in compute(): backend/step.h.
  template <std::invocable Compute>
  absl::Status Run(const backend::Step&, const Compute& compute) {
    compute();
    return std::exchange(failure_, absl::OkStatus());
  }

  void Embed(std::span<const TokenId> tokens, const Embedding& e, Tensor& y);
  void LayerNorm(const Tensor& x, const Norm& n, Tensor& y);
  void RmsNorm(const Tensor& x, const Norm& n, Tensor& y);
  void Linear(const Tensor& x, const Weight& w, backend::Then then, Tensor& y);
  void Attend(const Tensor& x, const backend::Rows& rows, const backend::Heads& heads, KvLayer& kv,
              Tensor& y);
  void SwiGlu(const Tensor& x, Tensor& y);
  void Add(const Tensor& x, Tensor& y);
  void AllReduce(Tensor& y);
  const Tensor& AllGather(const Tensor& x, Tensor& y);
  void Gather(const Tensor& x, std::span<const std::int32_t> rows, Tensor& y);
  void Sample(const Tensor& x, std::span<const backend::Sampling> sampling,
              std::span<backend::SampledToken> tokens);

 private:
  // Calls work(t) for t in [0, rows), in parallel if rows of `cost` floats are worth a region.
  void ForEachRow(std::int64_t rows, std::int64_t cost,
                  absl::FunctionRef<void(std::int64_t t)> work);

  // Makes the narrowed form of x that `kernel` reads, if it reads one.
  void Narrow(const Tensor& x, Activations activations);

  CpuDevice& device_;
  base::ThreadPool& pool_;
  const Kernels& kernels_;
  std::shared_ptr<comm::Communicator> communicator_;  // null: alone
  absl::Status failure_;                              // of the communicator
};

static_assert(backend::Backend<CpuBackend>);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_CPU_BACKEND_H_
