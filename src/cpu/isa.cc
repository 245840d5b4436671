// SPDX-License-Identifier: Apache-2.0
#include "cpu/isa.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>

#include "cpu/targets.h"
//
#include <hwy/highway.h>

#if HWY_ARCH_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace codegen::cpu {
namespace {

#if HWY_ARCH_X86

struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros for a leaf that is not there.
Cpuid Leaf(unsigned leaf) {
  Cpuid id;
  if (__get_cpuid_count(leaf, 0, &id.eax, &id.ebx, &id.ecx, &id.edx) == 0) return {};
  return id;
}

bool IsAmd() {
  const Cpuid id = Leaf(0);
  return id.ebx == signature_AMD_ebx && id.ecx == signature_AMD_ecx && id.edx == signature_AMD_edx;
}

std::vector<CpuFeatures> FindVectors() {
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

// Why this process may not use tiles; empty if it may.
std::string AskForTiles() {
  constexpr unsigned kBf16TileInt8 = 1U << 22 | 1U << 24 | 1U << 25;
  if (FindVectors().back() != CpuFeatures::kAvx512Bf16) return "the CPU has no AVX-512 with bf16";
  if ((Leaf(7).edx & kBf16TileInt8) != kBf16TileInt8) return "the CPU has no tiles";
  constexpr unsigned kOsxsave = 1U << 27;
  constexpr unsigned kTileState = 1U << 17 | 1U << 18;
  unsigned low = 0;
  unsigned high = 0;
  if ((Leaf(1).ecx & kOsxsave) != 0) asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & kTileState) != kTileState) return "the system does not save tiles";
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  if (::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) return "";
  return "the system refuses tiles: " + std::generic_category().message(errno);
}

const std::string& WhyNoTiles() {
  static const std::string reason = AskForTiles();
  return reason;
}

// What oneDNN and others go by: a machine that does not describe its tiles may not run them.
bool DescribesTiles() { return Leaf(0x1D).eax >= 1; }

std::vector<CpuFeatures> FindLevels() {
  std::vector<CpuFeatures> levels = FindVectors();
  if (DescribesTiles() && WhyNoTiles().empty()) levels.push_back(CpuFeatures::kAmx);
  return levels;
}

bool Advisable(CpuFeatures level) { return level != CpuFeatures::kAvx512Bf16 || IsAmd(); }

#else

std::vector<CpuFeatures> FindLevels() { return {CpuFeatures::kPortable}; }
std::string WhyNoTiles() { return "the CPU is no x86-64"; }
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
  std::string reason;
  if (wanted == CpuFeatures::kAmx) {
    if (WhyNoTiles().empty()) return wanted;
    reason = ": " + WhyNoTiles();
  }
  return absl::FailedPreconditionError(
      fmt::format("LoadOptions::cpu_features is {}; this machine runs {} at most{}",
                  CpuFeaturesName(wanted), CpuFeaturesName(levels.back()), reason));
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
    case CpuFeatures::kAmx:
      return HWY_AVX3;
#endif
    default:
      return 0;
  }
}

}  // namespace codegen::cpu
