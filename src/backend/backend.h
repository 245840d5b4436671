// SPDX-License-Identifier: Apache-2.0
//
// The Backend concept: everything a device must be able to do for a model to run on it, each
// operation a formula.
//
// The architectures (model/codegen_block.h, model/llama_block.h) are templates over this page and
// nothing else; the reference in tests/support, the CPU and the GPU each satisfy it and pass one
// conformance test (tests/backend). The types of a Device are parameters, so that mixing memory of
// two devices does not compile. Operations neither allocate nor fail: what can fail happens when a
// Device makes its objects.
//
// Notation: activations are row-major matrices, x[t] is row t, one row per token of the step. Where
// a device holds factors (Holds) in less than float32, results are rounded once as they are stored,
// and Attend's result holds factors.
#ifndef CODEGEN_BACKEND_BACKEND_H_
#define CODEGEN_BACKEND_BACKEND_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "backend/rows.h"
#include "backend/sampling.h"
#include "codegen/options.h"

namespace codegen::backend {

// What becomes of a product: y = p, y += p, or y = gelu(p) with gelu(v) = v (1 + tanh(sqrt(2/pi)(v
// + 0.044715 v^3)))/2.
enum class Then { kStore, kAdd, kGelu };

// What the elements of a Tensor are for, which says how wide a device has to hold them.
enum class Holds {
  kSums,     // what is added to, or read as it is: the residual, logits; float32 or wider
  kFactors,  // what a product or attention reads next: as wide as those of the device read it
};

// Which elements of a head rotate together: (2i, 2i+1) as in GPT-J, or (i, i + rotary_dim/2) as in
// LLaMA.
enum class RotaryPairs { kInterleaved, kHalves };

// The attention heads of one layer (on this rank).
struct Heads {
  int count = 0;
  int dim = 0;         // a multiple of 8
  int rotary_dim = 0;  // even, <= dim; the elements from there on do not rotate
  RotaryPairs rotary_pairs = RotaryPairs::kInterleaved;
  float rotary_base = 10000.0F;  // angle of pair i at position p: p * base^(-2i / rotary_dim)
};

// Writes rows [first, first + count) of a matrix to `out` [count, columns]. May be called from
// several threads at once.
template <class Element>
using ReadRows =
    std::function<absl::Status(std::int64_t first, std::int64_t count, std::span<Element> out)>;

// Where the elements of a matrix come from while a Device lays it out in its own way.
struct MatrixSource {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  ReadRows<float> read = {};  // as float32
  // Where it is not empty: the same as the bits of `stored`, which is kF16 or kBf16, for devices
  // that widen as they lay out. A row is read in one of the two ways.
  ReadRows<std::uint16_t> read_stored = {};
  WeightFormat stored = WeightFormat::kF32;

  // The source whose ways of reading are those that wrap(way) makes of this one's.
  template <class Wrap>
  MatrixSource Wrapped(const Wrap& wrap) && {
    read = wrap(std::move(read));
    if (read_stored) read_stored = wrap(std::move(read_stored));
    return std::move(*this);
  }
};

// A Device makes and owns memory. Tensor: activations [rows <= capacity, columns]. Weight: a matrix
// [outputs, inputs] in some WeightFormat, with or without a bias [outputs]. Embedding: a matrix
// read by rows. Norm: gain, and bias for LayerNorm. KvLayer: the pages of keys and values of one
// layer. Make functions may be called from several threads at once; each reads every row of its
// source once. Errors of all: RESOURCE_EXHAUSTED (memory), and whatever a source returns.
template <class D>
concept DeviceConcept = requires(D& device, const MatrixSource& source,
                                 std::span<const float> floats, std::span<float> out,
                                 typename D::Tensor& y, const typename D::Tensor& x,
                                 const Heads& heads) {
  {
    device.MakeTensor(/*capacity=*/std::int64_t{}, /*columns=*/std::int64_t{}, Holds{})
    } -> std::same_as<absl::StatusOr<typename D::Tensor>>;
  {
    device.MakeWeight(source, /*bias=*/floats, WeightFormat{})
    } -> std::same_as<absl::StatusOr<typename D::Weight>>;
  {
    device.MakeEmbedding(source, WeightFormat{})
    } -> std::same_as<absl::StatusOr<typename D::Embedding>>;
  {
    device.MakeNorm(/*gain=*/floats, /*bias=*/floats, /*epsilon=*/float{})
    } -> std::same_as<absl::StatusOr<typename D::Norm>>;
  {
    device.MakeKvLayer(/*pages=*/std::int64_t{}, heads)
    } -> std::same_as<absl::StatusOr<typename D::KvLayer>>;
  y.SetRows(std::int64_t{});  // the rows in use; contents become unspecified
  { x.rows() } -> std::same_as<std::int64_t>;
  { x.columns() } -> std::same_as<std::int64_t>;
  device.Upload(floats, y);  // y = floats [y.rows(), y.columns()]
  device.Download(x, out);   // out = x
};

template <class B>
concept Backend = DeviceConcept<typename B::Device> &&
    requires(B& b, typename B::Device::Tensor& y, const typename B::Device::Tensor& x,
             const typename B::Device::Weight& w, const typename B::Device::Embedding& e,
             const typename B::Device::Norm& n, typename B::Device::KvLayer& kv, const Rows& rows,
             const Heads& heads, std::span<const Sampling> sampling,
             std::span<SampledToken> tokens) {
  b.Embed(rows.tokens, e, y);       // y[t] = e[token t]
  b.LayerNorm(x, n, y);             // y[t] = gain (x[t] - mean) / sqrt(variance + epsilon) + bias
  b.RmsNorm(x, n, y);               // y[t] = gain x[t] / sqrt(mean square + epsilon)
  b.Linear(x, w, Then::kStore, y);  // p = x wT + bias, then store, add to y, or gelu
  b.Attend(x, rows, heads, kv,
           y);     // x[t] = q,k,v, heads in order: rotate q and k, append k and v to kv,
                   // y[t] = softmax(q kT / sqrt(dim)) v over positions <= that of t
  b.SwiGlu(x, y);  // y[t,f] = silu(x[t,f]) x[t,F+f], silu(v) = v / (1 + exp(-v))
  b.Add(x, y);     // y += x
  b.AllReduce(y);  // y = sum over ranks; nothing when alone
  // The columns of all ranks side by side, in y, which is returned; alone x is.
  { b.AllGather(x, y) } -> std::same_as<const typename B::Device::Tensor&>;
  b.Gather(x, rows.logit_rows, y);  // y[i] = x[row i]
  b.Sample(x, sampling,
           tokens);  // tokens[i] drawn from softmax(x[i]) as sampling[i] says (sampling.h)
};

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_BACKEND_H_
