// SPDX-License-Identifier: Apache-2.0
//
// Choosing by the clock among the algorithms that cuBLASLt offers for the products of a model:
// once, when it is loaded. Backends that are made afterwards begin with what was chosen, and no
// step measures anything.
#ifndef CODEGEN_CUDA_TUNE_H_
#define CODEGEN_CUDA_TUNE_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <span>

#include "codegen/options.h"
#include "cuda/cuda_device.h"
#include "cuda/gemm_tuning.h"
#include "cuda/linear.h"

namespace codegen::cuda {

// The products of each bucket of rows count one by one.
struct Tuned {
  int products = 0;           // that were measured, now or for the file
  int measured = 0;           // of these, now
  absl::Status failure = {};  // why there are none, the library's choice then stays
};

// What options.file holds for this device; nothing if there is no name, no file or no cuBLASLt.
// Errors: of ReadTuning, naming the option.
absl::StatusOr<GemmTuning> ReadTuningOf(const CudaDevice& device, const TuningOptions& options);

// Chooses for `products` in steps of up to options.rows rows, by `known` where it says, and writes
// options.file if anything was measured. Waits for the device, and takes of its budget meanwhile.
// Errors: of WriteTuning, naming the option; UNAVAILABLE if the device is lost.
// Requires: no backend of the device has been made.
absl::StatusOr<Tuned> TuneProducts(CudaDevice& device, std::span<const LinearProduct> products,
                                   const TuningOptions& options, GemmTuning known);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_TUNE_H_
