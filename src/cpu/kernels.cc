// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernels.h"

#include <map>

#include "cpu/isa.h"

namespace codegen::cpu {
namespace {

Kernels MakeKernels(CpuFeatures level) {
  Kernels kernels{.level = level};
  AddLinearF32(kernels);
  AddLinearF16(kernels);
  AddLinearBf16(kernels);
  AddLinearInt8(kernels);
  AddLinearInt4(kernels);
  kernels.linear_bf16_fast = kernels.linear_bf16;
  AddLinearDot(kernels);
  AddNarrow(kernels);
  AddRotary(kernels);
  AddAttention(kernels);
  AddAttentionDot(kernels);
  AddNorm(kernels);
  AddElementwise(kernels);
  AddPacking(kernels);
  return kernels;
}

std::map<CpuFeatures, Kernels> MakeAll() {
  std::map<CpuFeatures, Kernels> all;
  for (const CpuFeatures level : SupportedLevels()) all.emplace(level, MakeKernels(level));
  return all;
}

}  // namespace

const Kernels& KernelsOf(CpuFeatures level) {
  static const std::map<CpuFeatures, Kernels> all = MakeAll();
  return all.at(level);
}

}  // namespace codegen::cpu
