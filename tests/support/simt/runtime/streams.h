// SPDX-License-Identifier: Apache-2.0
//
// The seam between what runs on the pretend device and the substitute of the CUDA runtime: how
// emulated kernels and libraries get into a stream, and how they report that they went wrong.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_STREAMS_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_STREAMS_H_

#include <driver_types.h>

#include <chrono>
#include <cstddef>
#include <functional>

namespace codegen::simt {

// Puts `work` behind what `stream` holds (null: the default stream), or into the graph that the
// stream captures; the work of a graph runs once per launch of it. Counts as a kernel launch, and
// returns what cudaLaunchKernel would. `work` runs later, on whichever thread waits for it, and
// must not call the CUDA runtime.
cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work, const char* name);

// To be called by work that went wrong: once it returns, `error` is sticky, as after a fault on a
// device. All pending work is dropped and every call fails with `error` until Reset (control.h).
void ReportFault(cudaError_t error);

// What a launch of `function` may take of dynamic shared memory: 48 KiB, or more after
// cudaFuncSetAttribute(cudaFuncAttributeMaxDynamicSharedMemorySize).
std::size_t DynamicSharedLimit(const void* function);

// Lets the pretend clock that events read go on by what the running work pretends to take, beside
// the microsecond that everything takes.
void SpendDeviceTime(std::chrono::microseconds time);

// Whether all of [data, data + bytes) lies in one living allocation of device memory.
bool IsDeviceMemory(const void* data, std::size_t bytes);

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_STREAMS_H_
