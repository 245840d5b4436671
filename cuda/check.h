// SPDX-License-Identifier: Apache-2.0
//
// From the errors of CUDA to absl::Status.
//
//   no driver, no device, wrong driver      FAILED_PRECONDITION, and what to do about it
//   out of memory, out of launch resources  RESOURCE_EXHAUSTED
//   sticky: the device is lost for us       UNAVAILABLE
//   everything else                         INTERNAL
//
// After a sticky error every later call of this process on that device fails with it, and only a
// new process heals it: cudaDeviceReset would, but it also destroys what the rest of the host
// process has on the device, so we never call it.
#ifndef CODEGEN_CUDA_CHECK_H_
#define CODEGEN_CUDA_CHECK_H_

#include <absl/status/status.h>
#include <driver_types.h>

#include <string_view>

namespace codegen::cuda {

// Whether `error` has left the device unusable for this process.
bool IsSticky(cudaError_t error);

// OK, or what went wrong while doing `what`: "reading the tokens". An error that is not sticky is
// taken out of cudaGetLastError, where code of the host process might take it for its own.
absl::Status Check(cudaError_t error, std::string_view what);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_CHECK_H_
