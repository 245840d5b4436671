// SPDX-License-Identifier: Apache-2.0
//
// A backend that times another one: how long each operation took, how often it ran and how much it
// computed, so that a step can be held against the machine's peaks operation by operation.
//
//   Traced<CpuBackend> traced(backend);
//   Forward(traced, weights, rows, kv, activations);
//   for (const auto& [operation, cost] : traced.costs()) ...
//
// For devices that work while their calls run (a CPU). Linear is split by shape, "Linear 4096 x
// 1024" being outputs x inputs.
#ifndef CODEGEN_BACKEND_TRACED_H_
#define CODEGEN_BACKEND_TRACED_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "backend/backend.h"
#include "backend/rows.h"

namespace codegen::backend {

struct OperationCost {
  std::int64_t calls = 0;
  double seconds = 0;
  double operations = 0;  // two per multiply-add, of products and attention; else 0
};

// Not synchronised: one thread, as its backend.
template <Backend B>
class Traced {
 public:
  using Device = typename B::Device;
  using Tensor = typename Device::Tensor;

  // `backend` must outlive this.
  explicit Traced(B& backend) : backend_(backend) {}

  // By operation, since construction or Clear.
  const std::map<std::string, OperationCost>& costs() const { return costs_; }
  void Clear() { costs_.clear(); }

  void Embed(std::span<const TokenId> tokens, const typename Device::Embedding& e, Tensor& y) {
    Time("Embed", 0, [&] { backend_.Embed(tokens, e, y); });
  }
  void LayerNorm(const Tensor& x, const typename Device::Norm& n, Tensor& y) {
    Time("LayerNorm", 0, [&] { backend_.LayerNorm(x, n, y); });
  }
  void RmsNorm(const Tensor& x, const typename Device::Norm& n, Tensor& y) {
    Time("RmsNorm", 0, [&] { backend_.RmsNorm(x, n, y); });
  }
  void Linear(const Tensor& x, const typename Device::Weight& w, Then then, Tensor& y) {
    const auto size = static_cast<double>(x.columns() * y.columns());
    Time("Linear " + std::to_string(y.columns()) + " x " + std::to_string(x.columns()),
         2 * static_cast<double>(x.rows()) * size, [&] { backend_.Linear(x, w, then, y); });
  }
  void Attend(const Tensor& x, const Rows& rows, const Heads& heads, typename Device::KvLayer& kv,
              Tensor& y) {
    double positions = 0;  // that a row sees, summed
    for (const std::int32_t position : rows.positions) positions += position + 1.0;
    Time("Attend", 4 * positions * heads.count * heads.dim,
         [&] { backend_.Attend(x, rows, heads, kv, y); });
  }
  void SwiGlu(const Tensor& x, Tensor& y) {
    Time("SwiGlu", 0, [&] { backend_.SwiGlu(x, y); });
  }
  void Add(const Tensor& x, Tensor& y) {
    Time("Add", 0, [&] { backend_.Add(x, y); });
  }
  void AllReduce(Tensor& y) {
    Time("AllReduce", 0, [&] { backend_.AllReduce(y); });
  }
  const Tensor& AllGather(const Tensor& x, Tensor& y) {
    const Tensor* all = nullptr;
    Time("AllGather", 0, [&] { all = &backend_.AllGather(x, y); });
    return *all;
  }
  void Gather(const Tensor& x, std::span<const std::int32_t> rows, Tensor& y) {
    Time("Gather", 0, [&] { backend_.Gather(x, rows, y); });
  }
  void Sample(const Tensor& x, std::span<const Sampling> sampling, std::span<SampledToken> tokens) {
    Time("Sample", 0, [&] { backend_.Sample(x, sampling, tokens); });
  }

 private:
  template <class Run>
  void Time(const std::string& name, double operations, const Run& run) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    run();
    const std::chrono::duration<double> elapsed = Clock::now() - begin;
    OperationCost& cost = costs_[name];
    ++cost.calls;
    cost.seconds += elapsed.count();
    cost.operations += operations;
  }

  B& backend_;
  std::map<std::string, OperationCost> costs_;
};

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_TRACED_H_
