// SPDX-License-Identifier: Apache-2.0
//
// The emulator of CUDA kernels: runs the threads of a grid on the CPU, as fibers.
//
// What it is for: kernel sources compile as plain C++ against kernel.h, and their tests then run
// wherever tests run, under the address, undefined-behaviour, thread and memory sanitizers. What it
// checks is function, not speed: results under several legal orders of execution (schedule.h),
// barriers and collectives that not all of their threads reach, shared memory that nobody wrote,
// copies read before they were waited for, addresses that a device would refuse.
//
// How: blocks run one after the other, in the order of the schedule. The threads of a block are
// fibers of one host thread, and a thread runs until it has to wait for others: at a barrier, or at
// a warp collective until every lane of its mask has come, where the last to come computes the
// results of all. Where a real warp runs in lock step, these threads do not: a kernel that counts
// on it without __syncwarp is found out. Several host threads may run grids at the same time.
//
// Stricter than a device on purpose: all threads have to reach a barrier or a collective at the
// same line, and a mask may only name lanes that exist and have not returned.
//
// What it cannot show: speed, registers and occupancy; the weak order of memory between blocks
// (but the thread sanitizer finds what no fence orders); blocks that wait for each other, which
// hang; a stack of more than 256 KiB a thread, which crashes.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_GRID_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_GRID_H_

#include <absl/functional/function_ref.h>
#include <driver_types.h>
#include <vector_types.h>

#include <cstddef>

#include "support/simt/diagnostics.h"
#include "support/simt/schedule.h"

namespace codegen::simt {

inline constexpr int kWarpLanes = 32;

// Of an H100 or H200, in bytes a block.
inline constexpr std::size_t kMaxStaticShared = 48 << 10;
inline constexpr std::size_t kMaxShared = 227 << 10;

struct GridShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  // dynamic
};

// What a device would answer to a launch of this shape: cudaErrorInvalidConfiguration,
// cudaErrorInvalidValue for too much shared memory, or cudaSuccess.
cudaError_t CheckShape(const GridShape& shape);

// Runs `body` once for every thread of the grid, with threadIdx and its like (kernel.h) set.
// False: the kernel went wrong, which is a diagnostic now, and what was left of the grid did not
// run. Requires: CheckShape(shape) == cudaSuccess; no kernel calls this.
bool RunGrid(const GridShape& shape, const char* name, absl::FunctionRef<void()> body);

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_GRID_H_
