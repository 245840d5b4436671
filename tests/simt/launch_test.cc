// SPDX-License-Identifier: Apache-2.0
#include "cuda/launch.h"

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/device/thread.cuh"
#include "support/simt/runtime/control.h"

namespace codegen::cuda {
namespace {

struct Line {
  float slope;
  float offset;
};

__global__ void DrawKernel(float* out, int count, Line line) {
  float* copy = DynamicShared<float>();
  copy[Thread()] = line.slope * static_cast<float>(Thread()) + line.offset;
  __syncthreads();
  if (Thread() < count) out[Thread()] = copy[Thread()];
}

__global__ void TrapKernel() { __trap(); }

__global__ void EmptyKernel() {}

class LaunchTest : public testing::Test {
 protected:
  void SetUp() override { simt::Reset(); }
  void TearDown() override {
    EXPECT_THAT(simt::TakeDiagnostics(), testing::IsEmpty());
    simt::Reset();
  }
};

TEST_F(LaunchTest, RunsTheKernelWithItsArgumentsAndShape) {
  cudaStream_t stream = nullptr;
  float* out = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&out), 64 * sizeof(float)), cudaSuccess);
  const LaunchShape shape{
      .grid = dim3(1), .block = dim3(64), .shared_bytes = 64 * sizeof(float), .name = "draw"};

  ASSERT_EQ(Launch(&DrawKernel, shape, stream, out, 64, Line{2, 1}), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);

  float host[64];
  ASSERT_EQ(cudaMemcpy(host, out, sizeof host, cudaMemcpyDeviceToHost), cudaSuccess);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(host[i], 2.0F * static_cast<float>(i) + 1);
  EXPECT_EQ(cudaFree(out), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(LaunchTest, RefusesShapesThatADeviceRefuses) {
  EXPECT_EQ(Launch(&EmptyKernel, {.grid = dim3(1), .block = dim3(1025)}, nullptr),
            cudaErrorInvalidConfiguration);
  EXPECT_EQ(Launch(&EmptyKernel, {.grid = dim3(0), .block = dim3(1)}, nullptr),
            cudaErrorInvalidConfiguration);
}

TEST_F(LaunchTest, AsksForMuchSharedMemoryByItself) {
  const auto launch = [](std::size_t bytes) {
    return Launch(&EmptyKernel, {.grid = dim3(1), .block = dim3(32), .shared_bytes = bytes},
                  nullptr);
  };

  EXPECT_EQ(launch(48 << 10), cudaSuccess);
  EXPECT_EQ(launch(227 << 10), cudaSuccess);
  EXPECT_NE(launch((227 << 10) + 1), cudaSuccess);
}

TEST_F(LaunchTest, FailsTheStreamWhenTheKernelGoesWrong) {
  ASSERT_EQ(Launch(&TrapKernel, {.grid = dim3(1), .block = dim3(1), .name = "trap"}, nullptr),
            cudaSuccess);

  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_THAT(simt::TakeDiagnostics(), testing::ElementsAre(testing::HasSubstr("in trap")));
}

}  // namespace
}  // namespace codegen::cuda
