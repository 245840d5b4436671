// SPDX-License-Identifier: Apache-2.0
#include "cpu/machine.h"

#include <absl/functional/function_ref.h>
#include <absl/status/statusor.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "cpu/machine_kernels.h"

namespace codegen::cpu {
namespace {

constexpr int kRounds = 4;
constexpr std::chrono::milliseconds kPatience{200};

// The amount that `work` reports per nanosecond, the best of a few rounds: fewer on a machine so
// busy or slow that they would take long.
double BestRate(absl::FunctionRef<double()> work) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double best = 0;
  for (int round = 0; round < kRounds && Clock::now() - start < kPatience; ++round) {
    const auto round_start = Clock::now();
    const double amount = work();
    const std::chrono::duration<double, std::nano> time = Clock::now() - round_start;
    best = std::max(best, amount / time.count());
  }
  return best;
}

// Chains in tasks of tens of microseconds, about 20 ms a round on each thread.
double MeasurePeak(base::ThreadPool& pool, Chains chains) {
  constexpr std::int64_t kChainRounds = 4096;
  const std::int64_t tasks = std::int64_t{600} * pool.threads();
  std::atomic<float> factor{0.25F};  // opaque to the compiler
  std::atomic<float> result{0};
  return BestRate([&] {
    std::atomic<std::int64_t> operations{0};
    pool.ParallelFor(tasks, [&](std::int64_t) {
      float sink = 0;
      operations += static_cast<std::int64_t>(chains(kChainRounds, factor.load(), sink));
      result.store(sink, std::memory_order_relaxed);
    });
    return static_cast<double>(operations.load());
  });
}

}  // namespace

double MeasureReadBandwidth(base::ThreadPool& pool, CpuFeatures level) {
  constexpr std::int64_t kBytes = std::int64_t{384} << 20;
  constexpr std::int64_t kTaskBytes = std::int64_t{1} << 20;
  absl::StatusOr<base::AlignedBuffer> buffer = base::AlignedBuffer::Make(kBytes);
  if (!buffer.ok()) return 0;
  float* floats = buffer->as<float>().data();
  const std::int64_t task_floats = kTaskBytes / std::int64_t{sizeof(float)};
  // Written once: pages never touched are all the same one.
  pool.ParallelFor(kBytes / kTaskBytes, [&](std::int64_t task) {
    std::fill_n(floats + task * task_floats, task_floats, 1.0F);
  });
  const auto sum = MachineKernelsOf(level).sum;
  std::atomic<float> result{0};
  return BestRate([&] {
    pool.ParallelFor(kBytes / kTaskBytes, [&](std::int64_t task) {
      result.store(sum(floats + task * task_floats, task_floats), std::memory_order_relaxed);
    });
    return static_cast<double>(kBytes);
  });
}

double MeasureF32Peak(base::ThreadPool& pool, CpuFeatures level) {
  return MeasurePeak(pool, MachineKernelsOf(level).f32);
}

double MeasureBf16Peak(base::ThreadPool& pool, CpuFeatures level) {
  return MeasurePeak(pool, MachineKernelsOf(level).bf16);
}

double MeasureInt8Peak(base::ThreadPool& pool, CpuFeatures level) {
  return MeasurePeak(pool, MachineKernelsOf(level).int8);
}

MachineSpeed MeasureMachine(base::ThreadPool& pool, CpuFeatures level) {
  return {.threads = pool.threads(),
          .level = level,
          .read_gb_s = MeasureReadBandwidth(pool, level),
          .f32_gflops = MeasureF32Peak(pool, level),
          .bf16_gflops = MeasureBf16Peak(pool, level),
          .int8_gops = MeasureInt8Peak(pool, level)};
}

}  // namespace codegen::cpu
