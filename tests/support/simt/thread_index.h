// SPDX-License-Identifier: Apache-2.0
//
// Which thread runs, under the names that kernels know. Set by the emulator at every switch;
// kernels only read them.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_THREAD_INDEX_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_THREAD_INDEX_H_

#include <vector_types.h>

extern constinit thread_local uint3 threadIdx;
extern constinit thread_local uint3 blockIdx;
extern constinit thread_local dim3 blockDim;
extern constinit thread_local dim3 gridDim;

inline constexpr int warpSize = 32;

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_THREAD_INDEX_H_
