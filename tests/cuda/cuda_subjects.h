// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend on the emulated GPU, or a real one (tests/cuda/gpu), for conformance tests
// (tests/backend/cpu_subjects.h says what a subject is).
#ifndef CODEGEN_TESTS_CUDA_CUDA_SUBJECTS_H_
#define CODEGEN_TESTS_CUDA_CUDA_SUBJECTS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/thread_pool.h"
#include "cuda/cuda_backend.h"
#include "cuda/cuda_device.h"
#include "cuda/machine_blas.h"

namespace codegen::testing {

// Large enough for every shape of the conformance tests.
inline constexpr backend::StepLimits kConformanceLimits = {
    .rows = 640, .logit_rows = 64, .context = 1200, .heads = {.count = 24, .dim = 24}};

template <bool deterministic>
struct CudaSubject {
  using Backend = cuda::CudaBackend;
  static constexpr bool kSameBitsInAnyBatch = deterministic;
  static constexpr double kFactorRoundoff = 0x1p-9;
  static constexpr std::int64_t kInputs = 8;
  static std::string Name() { return deterministic ? "CudaDeterministic" : "Cuda"; }
  static std::string WhyNot() { return {}; }

  CudaSubject() = default;
  CudaSubject(const CudaSubject&) = delete;
  CudaSubject& operator=(const CudaSubject&) = delete;
  ~CudaSubject() { EXPECT_EQ(backend.status(), absl::OkStatus()); }

  std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(1);
  std::unique_ptr<cuda::CudaDevice> owned =
      *cuda::CudaDevice::Create({.memory = std::int64_t{1} << 30, .deterministic = deterministic},
                                *cuda::MachineBlas(), *pool);
  cuda::CudaDevice& device = *owned;
  cuda::CudaBackend backend = *cuda::CudaBackend::Create(device, kConformanceLimits);
};

using Subjects = ::testing::Types<CudaSubject<false>, CudaSubject<true>>;

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_CUDA_CUDA_SUBJECTS_H_
