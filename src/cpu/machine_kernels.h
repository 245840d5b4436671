// SPDX-License-Identifier: Apache-2.0
#ifndef CODEGEN_CPU_MACHINE_KERNELS_H_
#define CODEGEN_CPU_MACHINE_KERNELS_H_

#include <cstdint>

#include "codegen/options.h"

namespace codegen::cpu {

// Runs independent chains of multiply-adds in registers for `rounds` rounds. Returns the
// operations, two per multiply-add; `sink` takes a result, so that none is optimised away.
using Chains = double (*)(std::int64_t rounds, float factor, float& sink);

// The probes of a level (isa.h).
struct MachineKernels {
  float (*sum)(const float* values, std::int64_t count) = nullptr;  // reads memory; aligned to 64
  Chains f32 = nullptr;
  Chains bf16 = nullptr;
  Chains int8 = nullptr;
};

MachineKernels MachineKernelsOf(CpuFeatures level);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_MACHINE_KERNELS_H_
