// SPDX-License-Identifier: Apache-2.0
//
// Which instruction sets Highway compiles the kernels for; included before its headers. Left out:
// SSSE3 (every 64-bit CPU since 2008 has SSE4 too) and the vectors without a fixed length, which
// register tiles cannot hold in arrays.
#ifndef CODEGEN_CPU_TARGETS_H_
#define CODEGEN_CPU_TARGETS_H_

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#endif

#endif  // CODEGEN_CPU_TARGETS_H_
