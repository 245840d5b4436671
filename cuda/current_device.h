// SPDX-License-Identifier: Apache-2.0
//
// The device of the calling thread, for the length of a scope.
//
// Which device a thread uses is state of the thread, and threads that call us belong to the host
// process: whatever it had chosen is chosen again when we return.
#ifndef CODEGEN_CUDA_CURRENT_DEVICE_H_
#define CODEGEN_CUDA_CURRENT_DEVICE_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <cuda_runtime_api.h>

#include <utility>

#include "base/check.h"
#include "cuda/check.h"

namespace codegen::cuda {

// To be destroyed on the thread that made it.
class CurrentDevice {
 public:
  // FAILED_PRECONDITION if there is no such device, or no driver.
  static absl::StatusOr<CurrentDevice> Choose(int device) {
    int previous = 0;
    CODEGEN_RETURN_IF_ERROR(Check(cudaGetDevice(&previous), "asking for the current GPU"));
    if (previous == device) return CurrentDevice(kNothing);
    CODEGEN_RETURN_IF_ERROR(Check(cudaSetDevice(device), "choosing a GPU"));
    return CurrentDevice(previous);
  }

  ~CurrentDevice() {
    if (previous_ != kNothing) Check(cudaSetDevice(previous_), "").IgnoreError();
  }
  CurrentDevice(CurrentDevice&& other) noexcept
      : previous_(std::exchange(other.previous_, kNothing)) {}
  CurrentDevice& operator=(CurrentDevice&&) = delete;

 private:
  static constexpr int kNothing = -1;  // to restore

  explicit CurrentDevice(int previous) : previous_(previous) {}

  int previous_;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_CURRENT_DEVICE_H_
