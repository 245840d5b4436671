// SPDX-License-Identifier: Apache-2.0
#include "cuda/machine_blas.h"

#include "support/simt/runtime/cublaslt.h"
#include "support/simt/runtime/machine.h"

namespace codegen::cuda {

absl::StatusOr<BlasFunctions> MachineBlas() {
  if (simt::MachineLock()->settings.blas != simt::Library::kMissing) return simt::PretendBlas();
  return absl::FailedPreconditionError("cuBLAS cannot be opened: there is none");
}

}  // namespace codegen::cuda
