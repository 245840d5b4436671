// SPDX-License-Identifier: Apache-2.0
//
// What tests of the substitute of the CUDA runtime do all the time.
#ifndef CODEGEN_TESTS_SIMT_RUNTIME_CALLS_H_
#define CODEGEN_TESTS_SIMT_RUNTIME_CALLS_H_

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <vector>

#include "support/simt/runtime/control.h"
#include "support/simt/runtime/streams.h"

namespace codegen::simt {

inline constexpr Pace kPaces[] = {Pace::kLazy, Pace::kRandom, Pace::kEager};

// Memory lives until the next Reset.
template <class T>
T* DeviceArray(std::size_t count) {
  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, count * sizeof(T)), cudaSuccess);
  return static_cast<T*>(data);
}

template <class T>
std::span<T> PinnedArray(std::size_t count) {
  void* data = nullptr;
  EXPECT_EQ(cudaHostAlloc(&data, count * sizeof(T), cudaHostAllocDefault), cudaSuccess);
  return {static_cast<T*>(data), count};
}

inline cudaStream_t MakeStream(unsigned int flags = cudaStreamNonBlocking) {
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, flags), cudaSuccess);
  return stream;
}

inline cudaEvent_t MakeEvent(unsigned int flags = cudaEventDefault) {
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&event, flags), cudaSuccess);
  return event;
}

// A kernel that appends a number to a log.
inline cudaError_t Append(cudaStream_t stream, std::vector<int>& log, int number) {
  return Enqueue(
      stream, [&log, number] { log.push_back(number); }, "append");
}

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SIMT_RUNTIME_CALLS_H_
