// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernels.h"

#include <map>

#include "base/check.h"
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
  AddLinearAmx(kernels);
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
  const auto known = all.find(level);
  if (known != all.end()) return known->second;
  CODEGEN_DCHECK(level == CpuFeatures::kAmx);
  static const Kernels forced = MakeKernels(CpuFeatures::kAmx);
  return forced;
}

}  // namespace codegen::cpu
