// SPDX-License-Identifier: Apache-2.0
//
// One thread's loops of machine.h.
#ifndef CODEGEN_CPU_MACHINE_KERNELS_H_
#define CODEGEN_CPU_MACHINE_KERNELS_H_

#include <cstdint>

namespace codegen::cpu {

// Reads [values, values + count), 64-byte aligned, count a multiple of 64. Reads nothing else, but
// prefetches 4 KiB further.
float SumFloats(const float* values, std::int64_t count);

// Run multiply-add chains for `rounds` and return the operations done. `factor` in (0, 1) and
// `sink` keep the compiler from doing them itself.
double RunF32Chains(std::int64_t rounds, float factor, float& sink);
double RunBf16Chains(std::int64_t rounds, float factor, float& sink);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_MACHINE_KERNELS_H_
