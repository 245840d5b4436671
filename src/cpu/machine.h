// SPDX-License-Identifier: Apache-2.0
//
// What this machine can do, measured: the two limits that the speed of a model is to be held
// against. Both are probed with the pool's threads, in under a second, and jitter with whatever
// else runs.
#ifndef CODEGEN_CPU_MACHINE_H_
#define CODEGEN_CPU_MACHINE_H_

#include <string>

#include "base/thread_pool.h"

namespace codegen::cpu {

struct MachineSpeed {
  int threads = 0;
  std::string isa;        // IsaName()
  double read_gb_s = 0;   // all threads summing 384 MiB in huge pages; 0 if there is no such memory
  double f32_gflops = 0;  // fused multiply-adds in registers, two operations each
  // vdpbf16ps in registers where the CPU has AVX512_BF16, four operations per lane; else bf16
  // widened to f32 by shift and mask, then multiplied as f32.
  double bf16_gflops = 0;
};

// The best of a few rounds each.
MachineSpeed MeasureMachine(base::ThreadPool& pool);

// One probe alone, for benches that take it right before and after their own figure.
double MeasureReadBandwidth(base::ThreadPool& pool);
double MeasureF32Peak(base::ThreadPool& pool);
double MeasureBf16Peak(base::ThreadPool& pool);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_MACHINE_H_
