// SPDX-License-Identifier: Apache-2.0
//
// A substitute of cuBLASLt: products of bf16, f16 and f32 with sums in f32, one element at a time.
//
// What it accepts is no more than what the library accepts on an H200, so that a program which
// passes here does not fail there for a reason that could have been known:
//
//   - w transposed and x not (the form that fp8 needs, and the only one our product uses);
//   - operands of one type, results of that type or f32; sums and factors in f32;
//   - leading dimensions that hold a column and are multiples of 16 bytes, as are the addresses
//     that an algorithm was chosen for;
//   - a workspace as large as the algorithm needs, at a multiple of 256.
//
// It knows three algorithms, which give equal results. What they pretend to take is not what its
// heuristic thinks.
//
//   algorithm   workspace   rows             pretends to take
//   0           none        any              30 us
//   1           4 MiB       multiples of 8   10 us
//   2           8 MiB       any              20 us
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CUBLASLT_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CUBLASLT_H_

#include "cuda/library.h"

namespace codegen::simt {

// The table that cuda::OpenBlas fills from the real library.
cuda::BlasFunctions PretendBlas();

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CUBLASLT_H_
