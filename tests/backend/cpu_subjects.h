// SPDX-License-Identifier: Apache-2.0
//
// The backends that conformance tests run on any machine: the oracle itself, and the CPU.
#ifndef CODEGEN_TESTS_BACKEND_CPU_SUBJECTS_H_
#define CODEGEN_TESTS_BACKEND_CPU_SUBJECTS_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/thread_pool.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_device.h"
#include "cpu/isa.h"
#include "support/reference_backend.h"

namespace codegen::testing {

// A subject: a device, a backend on it, whether a row's result is the same to the bit whatever
// other rows are computed with it, the unit roundoff of its factors, of which number the inputs of
// a product must be a multiple, and why it cannot be tested here, if so.
struct ReferenceSubject {
  using Backend = ReferenceBackend;
  static constexpr bool kSameBitsInAnyBatch = true;
  static constexpr double kFactorRoundoff = 0x1p-53;
  static constexpr std::int64_t kInputs = 1;
  static std::string Name() { return "Reference"; }
  static std::string WhyNot() { return {}; }

  ReferenceDevice device;
  ReferenceBackend backend;
};

// On one level of instructions; on a machine without it the tests skip and the level does not
// matter.
template <int threads, CpuFeatures level = CpuFeatures::kAuto>
struct CpuSubject {
  using Backend = cpu::CpuBackend;
  static constexpr bool kSameBitsInAnyBatch = true;
  static constexpr double kFactorRoundoff = 0x1p-24;
  static constexpr std::int64_t kInputs = 1;
  static std::string Name() { return std::string("Cpu_") + CpuFeaturesName(level); }
  static std::string WhyNot() {
    if (cpu::ChooseLevel(level).ok()) return {};
    return std::string("this machine does not run ") + CpuFeaturesName(level);
  }

  std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(threads);
  cpu::CpuDevice device{*pool, {.level = cpu::ChooseLevel(level).value_or(CpuFeatures::kAuto)}};
  cpu::CpuBackend backend{device};
};

// What is exact is the same from kAvx512 on: cpu/linear_test holds the levels above it, and kFast,
// to the oracle.
using Subjects =
    ::testing::Types<ReferenceSubject, CpuSubject<1>, CpuSubject<3, CpuFeatures::kPortable>,
                     CpuSubject<3, CpuFeatures::kSse4>, CpuSubject<3, CpuFeatures::kAvx2>,
                     CpuSubject<3, CpuFeatures::kAvx512>>;

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_BACKEND_CPU_SUBJECTS_H_
