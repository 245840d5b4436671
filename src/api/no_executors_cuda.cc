// SPDX-License-Identifier: Apache-2.0
//
// What stands for executors_cuda.cc in a build without CUDA: says so.
#include <fmt/format.h>

#include "api/executors.h"

namespace codegen::api {

absl::StatusOr<OnDevice> LoadOnCuda(const LoadOptions& options, const model::TensorSource&,
                                    model::RowInspector&, const model::LoadPlan&) {
  return absl::FailedPreconditionError(
      fmt::format("LoadOptions::device is {}, but this build of codegen has no CUDA backend; "
                  "configure one with "
                  "-DCODEGEN_CUDA=ON",
                  DeviceName(options.device)));
}

}  // namespace codegen::api
