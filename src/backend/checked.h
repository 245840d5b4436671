// SPDX-License-Identifier: Apache-2.0
//
// Checked<B>: a Backend that watches another one.
//
// Before each operation it checks what the operation requires of its arguments (shapes, ranges, the
// structure of Rows), after it that all results are finite. The first violation is kept as a
// status; nothing aborts, and an operation whose arguments are wrong is not run. For tests and for
// finding out where a model goes wrong: every result is copied to the host, which on a GPU costs
// more than the operation itself.
//
// What a Device cannot be asked is not checked: the sizes of weights (`inputs()`, `outputs()`,
// `columns()`), embeddings (`rows()`) and key-value layers (`pages()`) only where it has such
// members.
#ifndef CODEGEN_BACKEND_CHECKED_H_
#define CODEGEN_BACKEND_CHECKED_H_

#include <absl/status/status.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/rows.h"
#include "backend/sampling.h"

namespace codegen::backend {

// Each returns INVALID_ARGUMENT, CheckFinite DATA_LOSS, naming the first rule of rows.h, backend.h
// or sampling.h that does not hold.
absl::Status CheckRows(const Rows& rows);
absl::Status CheckLogitRows(std::span<const std::int32_t> logit_rows, std::int64_t rows);
absl::Status CheckHeads(const Heads& heads);
absl::Status CheckTokens(std::span<const TokenId> tokens, std::int64_t vocabulary);
absl::Status CheckSampling(std::span<const Sampling> sampling, std::int64_t width);
absl::Status CheckEqual(const char* what, std::int64_t found, std::int64_t expected);
// Of a matrix [values.size() / columns, columns].
absl::Status CheckFinite(std::span<const float> values, std::int64_t columns);
// The same status, saying where: "call 12, Attend: ...".
absl::Status Locate(const absl::Status& status, const char* operation, std::int64_t call);

// Not synchronised: one thread, as its backend.
template <Backend B>
class Checked {
 public:
  using Device = typename B::Device;
  using Tensor = typename Device::Tensor;

  // Both must outlive this.
  Checked(B& backend, Device& device) : backend_(backend), device_(device) {}

  // The first violation since construction: INVALID_ARGUMENT for arguments, DATA_LOSS for a result
  // that is not finite; names the operation and its number, counted from 1.
  const absl::Status& status() const { return status_; }

  void Embed(std::span<const TokenId> tokens, const typename Device::Embedding& e, Tensor& y) {
    Begin("Embed");
    Expect("rows of the result", y.rows(), static_cast<std::int64_t>(tokens.size()));
    if constexpr (requires { e.columns; }) Expect("columns of the result", y.columns(), e.columns);
    std::int64_t vocabulary = std::int64_t{1} << 31;
    if constexpr (requires { e.rows; }) vocabulary = e.rows;
    Expect(CheckTokens(tokens, vocabulary));
    Run([&] { backend_.Embed(tokens, e, y); }, y);
  }

  void LayerNorm(const Tensor& x, const typename Device::Norm& n, Tensor& y) {
    Begin("LayerNorm");
    ExpectNormShapes(x, n, y);
    Run([&] { backend_.LayerNorm(x, n, y); }, y);
  }

  void RmsNorm(const Tensor& x, const typename Device::Norm& n, Tensor& y) {
    Begin("RmsNorm");
    ExpectNormShapes(x, n, y);
    Run([&] { backend_.RmsNorm(x, n, y); }, y);
  }

  void Linear(const Tensor& x, const typename Device::Weight& w, Then then, Tensor& y) {
    Begin("Linear");
    Expect("rows of the result", y.rows(), x.rows());
    if constexpr (requires { w.inputs; }) Expect("columns of x", x.columns(), w.inputs);
    if constexpr (requires { w.outputs; }) Expect("columns of the result", y.columns(), w.outputs);
    Run([&] { backend_.Linear(x, w, then, y); }, y);
  }

  void Attend(const Tensor& x, const Rows& rows, const Heads& heads, typename Device::KvLayer& kv,
              Tensor& y) {
    Begin("Attend");
    const std::int64_t width = std::int64_t{heads.count} * heads.dim;
    Expect(CheckHeads(heads));
    Expect(CheckRows(rows));
    Expect("rows of x", x.rows(), rows.size());
    Expect("rows of the result", y.rows(), rows.size());
    Expect("columns of x", x.columns(), 3 * width);
    Expect("columns of the result", y.columns(), width);
    if constexpr (requires { kv.pages; }) ExpectPages(rows, kv.pages);
    Run([&] { backend_.Attend(x, rows, heads, kv, y); }, y);
  }

  void SwiGlu(const Tensor& x, Tensor& y) {
    Begin("SwiGlu");
    Expect("rows of the result", y.rows(), x.rows());
    Expect("columns of x", x.columns(), 2 * y.columns());
    Run([&] { backend_.SwiGlu(x, y); }, y);
  }

  void Add(const Tensor& x, Tensor& y) {
    Begin("Add");
    Expect("rows of x", x.rows(), y.rows());
    Expect("columns of x", x.columns(), y.columns());
    Run([&] { backend_.Add(x, y); }, y);
  }

  void AllReduce(Tensor& y) {
    Begin("AllReduce");
    Run([&] { backend_.AllReduce(y); }, y);
  }

  const Tensor& AllGather(const Tensor& x, Tensor& y) {
    Begin("AllGather");
    return backend_.AllGather(x, y);
  }

  void Gather(const Tensor& x, std::span<const std::int32_t> rows, Tensor& y) {
    Begin("Gather");
    Expect(CheckLogitRows(rows, x.rows()));
    Expect("rows of the result", y.rows(), static_cast<std::int64_t>(rows.size()));
    Expect("columns of the result", y.columns(), x.columns());
    Run([&] { backend_.Gather(x, rows, y); }, y);
  }

  // Logits may be -infinity, and those of no token at all are reported by an id of -1: neither is a
  // violation here.
  void Sample(const Tensor& x, std::span<const Sampling> sampling, std::span<SampledToken> tokens) {
    Begin("Sample");
    Expect("sampling rows", static_cast<std::int64_t>(sampling.size()), x.rows());
    Expect("result rows", static_cast<std::int64_t>(tokens.size()), x.rows());
    Expect(CheckSampling(sampling, x.columns()));
    if (!valid_) return;
    backend_.Sample(x, sampling, tokens);
    for (std::size_t i = 0; i < tokens.size(); ++i)
      if (tokens[i].id != -1) Expect(CheckTokens({&tokens[i].id, 1}, sampling[i].vocabulary));
  }

 private:
  void Begin(const char* operation) {
    operation_ = operation;
    ++calls_;
    valid_ = true;
  }

  void Expect(const absl::Status& status) {
    if (status.ok()) return;
    valid_ = false;
    if (status_.ok()) status_ = Locate(status, operation_, calls_);
  }
  void Expect(const char* what, std::int64_t found, std::int64_t expected) {
    Expect(CheckEqual(what, found, expected));
  }

  void ExpectNormShapes(const Tensor& x, const typename Device::Norm& n, const Tensor& y) {
    Expect("rows of the result", y.rows(), x.rows());
    Expect("columns of the result", y.columns(), x.columns());
    if constexpr (requires { n.columns; }) Expect("columns of x", x.columns(), n.columns);
  }

  void ExpectPages(const Rows& rows, std::int64_t pages) {
    for (const std::int32_t page : rows.pages)
      if (page >= pages) Expect(CheckEqual("pages of the layer, at least", pages, page + 1));
  }

  template <class Operation>
  void Run(Operation operation, const Tensor& y) {
    if (!valid_) return;
    operation();
    copy_.resize(static_cast<std::size_t>(y.rows() * y.columns()));
    device_.Download(y, copy_);
    Expect(CheckFinite(copy_, y.columns()));
  }

  B& backend_;
  Device& device_;
  std::vector<float> copy_;
  absl::Status status_;
  const char* operation_ = "";
  std::int64_t calls_ = 0;
  bool valid_ = true;
};

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_CHECKED_H_
