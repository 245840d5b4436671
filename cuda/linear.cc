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

bool GemmTakes(const LinearChoice& choice, const Tensor& x, const Weight& w, Then then,
               const LinearRows& rows, const Tensor& y) {
  if (choice.gemm == nullptr || choice.deterministic || rows.capacity <= kSkinnyRows) return false;
  if (w.format != WeightFormat::kBf16 || x.holds() != Holds::kFactors) return false;
  if (w.inputs % 8 != 0 || w.outputs % 8 != 0) return false;
  // Its epilogues with gelu store bf16.
  if (then == Then::kGelu) return y.holds() == Holds::kFactors;
  return then == Then::kStore || y.holds() == Holds::kSums;
}

// UNIMPLEMENTED if cuBLASLt has no algorithm for it, which it says before the first one.
absl::Status PutGemm(Gemm& gemm, const Tensor& x, const Weight& w, Then then,
                     const LinearRows& rows, Tensor& y, const Stream& stream) {
  const bool biased = w.bias.bytes() > 0;
  const bool sums = y.holds() == Holds::kSums;
  GemmShape shape{.rows = rows.capacity, .outputs = w.outputs, .inputs = w.inputs};
  if (then == Then::kGelu) {
    shape.epilogue = biased ? GemmEpilogue::kGeluBias : GemmEpilogue::kGelu;
  } else {
    shape.epilogue = biased ? GemmEpilogue::kBias : GemmEpilogue::kNone;
  }
  shape.result_type = sums ? CUDA_R_32F : CUDA_R_16BF;
  const absl::Status prepared = gemm.Prepare(shape);
  if (absl::IsInvalidArgument(prepared)) return absl::UnimplementedError(prepared.message());
  CODEGEN_RETURN_IF_ERROR(prepared);
  return gemm.Multiply(shape,
                       {.x = x.as<void>(),
                        .w = w.elements.data(),
                        .bias = sums ? w.bias.data() : w.bias_bf16.data(),
                        .y = y.as<void>(),
                        .result = then == Then::kAdd ? GemmResult::kAdd : GemmResult::kStore},
                       stream);
}

}  // namespace

absl::Status PutLinear(const LinearChoice& choice, const Tensor& x, const Weight& w, Then then,
                       const LinearRows& rows, Tensor& y, const Stream& stream) {
  if (GemmTakes(choice, x, w, then, rows, y)) {
    absl::Status status = PutGemm(*choice.gemm, x, w, then, rows, y, stream);
    if (!absl::IsUnimplemented(status)) return status;
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
