// SPDX-License-Identifier: Apache-2.0
//
// What benchmarks share: they end at the first failure.
#ifndef CODEGEN_BENCH_PROGRAM_H_
#define CODEGEN_BENCH_PROGRAM_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "codegen/options.h"
#include "cpu/isa.h"

namespace codegen {

inline void Check(const absl::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", status.ToString());
  std::exit(1);
}

template <class T>
T Take(absl::StatusOr<T> result) {
  Check(result.status());
  return *std::move(result);
}

// "f32", "bf16", "f16", "int8" or "int4".
inline WeightFormat FormatNamed(std::string_view name) {
  using enum WeightFormat;
  for (const WeightFormat format : {kF32, kBf16, kF16, kInt8, kInt4}) {
    if (name == WeightFormatName(format)) return format;
  }
  fmt::print(stderr, "unknown weights: {}\n", name);
  std::exit(2);
}

// The level of instructions that the environment variable CPU_FEATURES names, as --cpu-features
// does; without it the best.
inline CpuFeatures Level() {
  const char* const name = std::getenv("CPU_FEATURES");
  if (name == nullptr) return cpu::BestLevel();
  for (const CpuFeatures level : cpu::SupportedLevels()) {
    if (CpuFeaturesName(level) == std::string_view(name)) return level;
  }
  fmt::print(stderr, "this machine has no CPU_FEATURES={}\n", name);
  std::exit(2);
}

}  // namespace codegen

#endif  // CODEGEN_BENCH_PROGRAM_H_
