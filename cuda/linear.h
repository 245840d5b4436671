// SPDX-License-Identifier: Apache-2.0
//
// Which kernel computes a product, by the number of rows and what the factors are:
//
//   rows     x bf16, w bf16        x bf16, w int8, int4     w f16, or x f32
//   1..8     linear_few            linear_few               linear_few
//   9..64    linear_skinny         linear_skinny            linear_few, 8 rows at a time
//   65..     cuBLASLt              linear_skinny, 64 rows at a time
//
// cuBLASLt takes only outputs that are a multiple of 8 and no gelu into sums or addition to
// factors, which models do not ask for, and may be absent: then as for int8. Deterministic: always
// the kernel of 9 rows, so that a row's result is the same whatever the number of rows. (Attention
// then is that of prompts always: step_arrays.h.)
#ifndef CODEGEN_CUDA_LINEAR_H_
#define CODEGEN_CUDA_LINEAR_H_

#include <absl/status/status.h>

#include <cstdint>
#include <optional>

#include "backend/backend.h"
#include "cuda/cuda_device.h"
#include "cuda/gemm.h"
#include "cuda/stream.h"

namespace codegen::cuda {

struct LinearChoice {
  Gemm* gemm = nullptr;  // null: without cuBLASLt
  bool deterministic = false;
};

// The rows of x and y: how many there are, in memory of the device, and how many there can be.
struct LinearRows {
  const std::int32_t* count = nullptr;
  int capacity = 0;
};

// A product as a model has it, of x that holds factors.
struct LinearProduct {
  const Weight* weight;
  backend::Then then = backend::Then::kStore;
  backend::Holds y = backend::Holds::kSums;
};

// What PutLinear asks cuBLASLt for; x and y of the operands are left out.
struct GemmProduct {
  GemmShape shape;
  GemmOperands operands;
};

// Nothing where kernels of our own do it for so many rows.
std::optional<GemmProduct> GemmProductOf(const LinearProduct& product, int rows);

// Puts the product into `stream`. Does not wait, and takes no memory of the device; cuBLASLt is
// asked for its algorithms when a bucket of rows comes for the first time. Errors: of the launch.
absl::Status PutLinear(const LinearChoice& choice, const Tensor& x, const Weight& w,
                       backend::Then then, const LinearRows& rows, Tensor& y, const Stream& stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_LINEAR_H_
