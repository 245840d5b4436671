// SPDX-License-Identifier: Apache-2.0
#include "cuda/machine_blas.h"

namespace codegen::cuda {

absl::StatusOr<BlasFunctions> MachineBlas() { return OpenBlas(); }

}  // namespace codegen::cuda
