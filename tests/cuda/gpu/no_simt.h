// SPDX-License-Identifier: Apache-2.0
//
// What tests of kernels ask of the emulator, where there is a GPU instead: one schedule, its own.
#ifndef CODEGEN_TESTS_CUDA_GPU_NO_SIMT_H_
#define CODEGEN_TESTS_CUDA_GPU_NO_SIMT_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>
#include <vector>

namespace codegen::simt {

enum class Order { kRandom };

struct Schedule {
  Order order = Order::kRandom;
  int poison = 1;
};

inline std::vector<Schedule> AllSchedules() { return {{}}; }

struct ScopedSchedule {
  explicit ScopedSchedule(const Schedule&) {}
};

struct Counters {
  std::int64_t launches = 0;  // not counted
};

inline Counters Count() { return {}; }

inline void Reset() {}

// What the device found wrong with what it has done so far.
inline std::vector<std::string> TakeDiagnostics() {
  const cudaError_t error = cudaDeviceSynchronize();
  if (error == cudaSuccess) return {};
  return {cudaGetErrorString(error)};
}

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_CUDA_GPU_NO_SIMT_H_
