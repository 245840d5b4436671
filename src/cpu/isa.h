// SPDX-License-Identifier: Apache-2.0
//
// Which instruction sets this process may use, and which one it should.
//
// A level is a CpuFeatures other than kAuto. Levels up to kAvx512 are Highway's targets; from
// kAvx512Vnni on there are kernels in intrinsics for some operations, and those of kAvx512 for the
// rest. Supported and advisable differ: `vdpbf16ps` takes more than two cycles on Intel and is
// slower than two float32 multiply-adds there. And a hypervisor may show AMX but hide the leaf that
// describes its tiles; on some of those it runs, on others it faults. There kAmx is not supported,
// but whoever names it gets it.
#ifndef CODEGEN_CPU_ISA_H_
#define CODEGEN_CPU_ISA_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <vector>

#include "codegen/options.h"

namespace codegen::cpu {

// The levels that this CPU and its system run, in ascending order. If kAmx may be one, asks the
// system for leave to use tiles, once per process.
const std::vector<CpuFeatures>& SupportedLevels();

// The level that kAuto stands for.
CpuFeatures BestLevel();

// `wanted`, or BestLevel() for kAuto. Errors: FAILED_PRECONDITION if this machine does not run it;
// for kAmx with the reason.
absl::StatusOr<CpuFeatures> ChooseLevel(CpuFeatures wanted);

// The Highway target of a level, as a mask for VersionFor (targets.h).
std::int64_t HighwayTarget(CpuFeatures level);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_ISA_H_
