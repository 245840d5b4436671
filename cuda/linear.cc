// SPDX-License-Identifier: Apache-2.0
#include "cuda/linear.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "base/check.h"
#include "cuda/check.h"
#include "cuda/element.h"
#include "cuda/kernels/linear_few.cuh"
#include "cuda/kernels/linear_skinny.cuh"

namespace codegen::cuda {
namespace {

using backend::Holds;
using backend::Then;

// Calls work(W{}), W the type of elements of a format.
template <class Work>
absl::Status WithWeight(WeightFormat format, const Work& work) {
  switch (format) {
    case WeightFormat::kF32:
      return work(float{});
    case WeightFormat::kBf16:
      return work(__nv_bfloat16{});
    case WeightFormat::kF16:
      return work(__half{});
    case WeightFormat::kInt8:
      return work(std::int8_t{});
    case WeightFormat::kInt4:
      return work(Int4Word{});
    case WeightFormat::kAuto:
      break;
  }
  return absl::InternalError("weights of no format");
}

template <class W, class X>
constexpr bool kSkinnyTakes =
    std::is_same_v<X, __nv_bfloat16> && !std::is_same_v<W, float> && !std::is_same_v<W, __half>;

// Calls put(args) for as many rows at a time as a kernel takes.
template <class W, class X, class Y, class Put>
absl::Status InPieces(LinearArgs<W, X, Y> args, int most, const Put& put) {
  const int capacity = args.row_capacity;
  for (int before = 0; before < capacity; before += most) {
    args.rows_before = before;
    args.row_capacity = std::min(most, capacity - before);
    CODEGEN_RETURN_IF_ERROR(Check(put(args), "starting a product"));
    args.x += static_cast<std::ptrdiff_t>(most) * args.inputs;
    args.y += static_cast<std::ptrdiff_t>(most) * args.outputs;
  }
  return absl::OkStatus();
}

// UNIMPLEMENTED if cuBLASLt has no algorithm for it, which it says before the first one.
absl::Status PutGemm(Gemm& gemm, GemmProduct product, const Tensor& x, Tensor& y,
                     const Stream& stream) {
  const absl::Status prepared = gemm.Prepare(product.shape);
  if (absl::IsInvalidArgument(prepared)) return absl::UnimplementedError(prepared.message());
  CODEGEN_RETURN_IF_ERROR(prepared);
  product.operands.x = x.as<void>();
  product.operands.y = y.as<void>();
  return gemm.Multiply(product.shape, product.operands, stream);
}

bool GemmTakes(const LinearProduct& product, int rows) {
  const Weight& w = *product.weight;
  if (rows <= kSkinnyRows || w.format != WeightFormat::kBf16) return false;
  if (w.inputs % 8 != 0 || w.outputs % 8 != 0) return false;
  // Its epilogues with gelu store bf16.
  if (product.then == Then::kGelu) return product.y == Holds::kFactors;
  return product.then == Then::kStore || product.y == Holds::kSums;
}

}  // namespace

std::optional<GemmProduct> GemmProductOf(const LinearProduct& product, int rows) {
  if (!GemmTakes(product, rows)) return std::nullopt;
  const Weight& w = *product.weight;
  const bool biased = w.bias.bytes() > 0;
  const bool sums = product.y == Holds::kSums;
  GemmProduct gemm{.shape = {.rows = rows, .outputs = w.outputs, .inputs = w.inputs}};
  if (product.then == Then::kGelu) {
    gemm.shape.epilogue = biased ? GemmEpilogue::kGeluBias : GemmEpilogue::kGelu;
  } else {
    gemm.shape.epilogue = biased ? GemmEpilogue::kBias : GemmEpilogue::kNone;
  }
  gemm.shape.result_type = sums ? CUDA_R_32F : CUDA_R_16BF;
  gemm.operands.w = w.elements.data();
  gemm.operands.bias = sums ? w.bias.data() : w.bias_bf16.data();
  gemm.operands.result = product.then == Then::kAdd ? GemmResult::kAdd : GemmResult::kStore;
  return gemm;
}

absl::Status PutLinear(const LinearChoice& choice, const Tensor& x, const Weight& w, Then then,
                       const LinearRows& rows, Tensor& y, const Stream& stream) {
  if (choice.gemm != nullptr && !choice.deterministic && x.holds() == Holds::kFactors) {
    const LinearProduct product{.weight = &w, .then = then, .y = y.holds()};
    if (const auto gemm = GemmProductOf(product, rows.capacity); gemm.has_value()) {
      absl::Status status = PutGemm(*choice.gemm, *gemm, x, y, stream);
      if (!absl::IsUnimplemented(status)) return status;
    }
  }
  return WithWeight(w.format, [&]<class W>(W) {
    return WithElements(x, y, [&]<class X, class Y>(const X* from, Y* to) {
      const LinearArgs<W, X, Y> args{.x = from,
                                     .w = w.elements.as<W>(),
                                     .scales = w.scales.as<ScaleOf<W>>(),
                                     .bias = w.bias.as<float>(),
                                     .y = to,
                                     .rows = rows.count,
                                     .rows_before = 0,
                                     .row_capacity = rows.capacity,
                                     .inputs = static_cast<int>(w.inputs),
                                     .outputs = static_cast<int>(w.outputs),
                                     .then = then};
      if constexpr (kSkinnyTakes<W, X>) {
        if (choice.deterministic || rows.capacity > kFewRows) {
          return InPieces(args, kSkinnyRows, [&](const auto& piece) {
            return LinearSkinny<W, Y>(piece, stream.get());
          });
        }
      }
      return InPieces(args, kFewRows,
                      [&](const auto& piece) { return LinearFew(piece, stream.get()); });
    });
  });
}

}  // namespace codegen::cuda
