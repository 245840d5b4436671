// SPDX-License-Identifier: Apache-2.0
//
// The seam where tests without a GPU put their substitute of cuBLASLt.
#ifndef CODEGEN_CUDA_MACHINE_BLAS_H_
#define CODEGEN_CUDA_MACHINE_BLAS_H_

#include <absl/status/statusor.h>

#include "cuda/library.h"

namespace codegen::cuda {

// The cuBLASLt that this program works with. Errors: of OpenBlas.
absl::StatusOr<BlasFunctions> MachineBlas();

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_MACHINE_BLAS_H_
