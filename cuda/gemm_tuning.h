// SPDX-License-Identifier: Apache-2.0
//
// Which of cuBLASLt's algorithms was the fastest for a kind of product, and the file that keeps it:
//
//   {"codegen_tuning": 1, "device": "NVIDIA H200", "multiprocessors": 132, "cublaslt": "13.1.0",
//    "products": [{"rows": 80, "outputs": 1024, "inputs": 4096, "epilogue": "bias",
//                  "operands": "bf16", "results": "f32", "algorithm": 128 hexadecimal digits}]}
//
// What an algorithm is only the library knows: to us it is 64 bytes, the same for one version of
// the library on one kind of device, so what was measured elsewhere does not count. And the library
// trusts such bytes, so those of a file are never given to it: they are compared with the ones that
// it offers for a product, and name one of these or nothing. A file made by somebody who means harm
// can make products slower, and nothing else.
#ifndef CODEGEN_CUDA_GEMM_TUNING_H_
#define CODEGEN_CUDA_GEMM_TUNING_H_

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <cublasLt.h>

#include <string>

#include "cuda/gemm_plan.h"

namespace codegen::cuda {

using GemmTuning = absl::flat_hash_map<GemmShape, cublasLtMatmulAlgo_t>;  // by rows of the bucket

// What was measured, and with what.
struct TuningOrigin {
  std::string device;  // the name, of printable ASCII without quotes and backslashes
  int multiprocessors = 0;
  std::string blas;  // BlasVersion

  friend bool operator==(const TuningOrigin&, const TuningOrigin&) = default;
};

// Of `device` as CUDA numbers them. Errors: of CUDA.
absl::StatusOr<TuningOrigin> OriginOf(int device, const BlasFunctions& blas);

// Reads a file of WriteTuning. Empty if there is none, or if it was measured with something else.
// Errors: of base::ReadFile; RESOURCE_EXHAUSTED beyond Limits::tuning_bytes; DATA_LOSS naming the
// product and the field.
absl::StatusOr<GemmTuning> ReadTuning(const std::string& path, const TuningOrigin& origin);

// In place of the file of that name, if there is one. Errors: of base::WriteNewFile;
// RESOURCE_EXHAUSTED beyond Limits::tuning_bytes.
absl::Status WriteTuning(const std::string& path, const TuningOrigin& origin,
                         const GemmTuning& tuning);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_GEMM_TUNING_H_
