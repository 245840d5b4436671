// SPDX-License-Identifier: Apache-2.0
#include "cpu/isa.h"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/targets.h"
//
#include <hwy/highway.h>

#if HWY_ARCH_X86
#include <cpuid.h>
#endif

namespace codegen::cpu {
namespace {

#if HWY_ARCH_X86

bool IsAmd() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return ebx == signature_AMD_ebx && ecx == signature_AMD_ecx && edx == signature_AMD_edx;
}

std::vector<CpuFeatures> FindLevels() {
  std::vector<CpuFeatures> levels = {CpuFeatures::kPortable};
  const std::int64_t targets = hwy::SupportedTargets();
  if (targets & HWY_SSE4) levels.push_back(CpuFeatures::kSse4);
  if (targets & HWY_AVX2) levels.push_back(CpuFeatures::kAvx2);
  if ((targets & HWY_AVX3) == 0) return levels;
  levels.push_back(CpuFeatures::kAvx512);
  if (!__builtin_cpu_supports("avx512vnni")) return levels;
  levels.push_back(CpuFeatures::kAvx512Vnni);
  if (!__builtin_cpu_supports("avx512bf16")) return levels;
  levels.push_back(CpuFeatures::kAvx512Bf16);
  return levels;
}

bool Advisable(CpuFeatures level) { return level != CpuFeatures::kAvx512Bf16 || IsAmd(); }

#else

std::vector<CpuFeatures> FindLevels() { return {CpuFeatures::kPortable}; }
bool Advisable(CpuFeatures) { return true; }

#endif

}  // namespace

const std::vector<CpuFeatures>& SupportedLevels() {
  static const std::vector<CpuFeatures> levels = FindLevels();
  return levels;
}

CpuFeatures BestLevel() {
  const std::vector<CpuFeatures>& levels = SupportedLevels();
  return *std::find_if(levels.rbegin(), levels.rend(), Advisable);
}

absl::StatusOr<CpuFeatures> ChooseLevel(CpuFeatures wanted) {
  if (wanted == CpuFeatures::kAuto) return BestLevel();
  const std::vector<CpuFeatures>& levels = SupportedLevels();
  if (std::ranges::find(levels, wanted) != levels.end()) return wanted;
  return absl::FailedPreconditionError(
      fmt::format("LoadOptions::cpu_features is {}; this machine runs {} at most",
                  CpuFeaturesName(wanted), CpuFeaturesName(levels.back())));
}

std::int64_t HighwayTarget(CpuFeatures level) {
  switch (level) {
#if HWY_ARCH_X86
    case CpuFeatures::kSse4:
      return HWY_SSE4;
    case CpuFeatures::kAvx2:
      return HWY_AVX2;
    case CpuFeatures::kAvx512:
    case CpuFeatures::kAvx512Vnni:
    case CpuFeatures::kAvx512Bf16:
      return HWY_AVX3;
#endif
    default:
      return 0;
  }
}

}  // namespace codegen::cpu
