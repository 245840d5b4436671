// SPDX-License-Identifier: Apache-2.0
//
// An array in the memory of a device, for tests of kernels, and the schedules to run them under.
#ifndef CODEGEN_TESTS_CUDA_KERNELS_DEVICE_ARRAY_H_
#define CODEGEN_TESTS_CUDA_KERNELS_DEVICE_ARRAY_H_

#include <absl/functional/function_ref.h>
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <type_traits>
#include <vector>

#include "support/sanitizers.h"
#ifdef CODEGEN_ON_GPU
#include "cuda/gpu/no_simt.h"
#else
#include "support/simt/diagnostics.h"
#include "support/simt/runtime/control.h"
#include "support/simt/schedule.h"
#endif

namespace codegen::cuda {

template <class T>
class DeviceArray {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  explicit DeviceArray(const std::vector<T>& elements) : count_(elements.size()) {
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data_), count_ * sizeof(T) + 1), cudaSuccess);
    Set(elements);
  }
  ~DeviceArray() { EXPECT_EQ(cudaFree(data_), cudaSuccess); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }

  // Requires: as many elements.
  void Set(const std::vector<T>& elements) {
    EXPECT_EQ(cudaMemcpy(data_, elements.data(), count_ * sizeof(T), cudaMemcpyHostToDevice),
              cudaSuccess);
  }

  // What is there once the device has done all that was asked of it.
  std::vector<T> Host() const {
    std::vector<T> elements(count_);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(elements.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return elements;
  }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

// Runs a test of kernels under every order of threads and every poison; under the thread sanitizer,
// which sees a race in any order and takes its time, in random order alone.
inline void UnderEverySchedule(absl::FunctionRef<void()> test) {
  for (const simt::Schedule& schedule : simt::AllSchedules()) {
    if (sanitizers::kThread && (schedule.order != simt::Order::kRandom || schedule.poison == 0))
      continue;
    SCOPED_TRACE(testing::PrintToString(schedule));
    simt::Reset();
    const simt::ScopedSchedule use(schedule);
    test();
    ASSERT_THAT(simt::TakeDiagnostics(), testing::IsEmpty());
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_CUDA_KERNELS_DEVICE_ARRAY_H_
