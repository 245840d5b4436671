// SPDX-License-Identifier: Apache-2.0
//
// What a GPU can do, measured: the two limits that the speed of a model is to be held against.
#ifndef CODEGEN_CUDA_MEASURE_H_
#define CODEGEN_CUDA_MEASURE_H_

#include <absl/status/statusor.h>

#include <string>

#include "cuda/cuda_device.h"

namespace codegen::cuda {

struct DeviceSpeed {
  std::string name = {};  // as the driver calls it
  // Copying memory to memory of the device, bytes read and written together, 1e9 per second.
  double copy_gb_s = 0;
  // A large product of bf16 by cuBLASLt, 1e9 operations per second, two to a multiply-add; 0 where
  // there is no cuBLASLt.
  double bf16_gflops = 0;
};

// The best of a few rounds each, in some tens of milliseconds. Takes memory of the device's budget
// meanwhile, and measures badly with less than 4 GiB: RESOURCE_EXHAUSTED if 40 MiB are not free.
absl::StatusOr<DeviceSpeed> MeasureDevice(CudaDevice& device);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_MEASURE_H_
