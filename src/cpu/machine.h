// SPDX-License-Identifier: Apache-2.0
//
// What this machine can do, measured: the two limits that the speed of a model is to be held
// against. Both are probed with the pool's threads, in under a second, and jitter with whatever
// else runs.
#ifndef CODEGEN_CPU_MACHINE_H_
#define CODEGEN_CPU_MACHINE_H_

#include "base/thread_pool.h"
#include "codegen/options.h"

namespace codegen::cpu {

struct MachineSpeed {
  int threads = 0;
  CpuFeatures level = CpuFeatures::kPortable;
  double read_gb_s = 0;   // all threads summing 384 MiB in huge pages; 0 if there is no such memory
  double f32_gflops = 0;  // fused multiply-adds in registers, two operations each
  double bf16_gflops = 0;  // tiles or dot products where the level has them; else widened to f32
  double int8_gops = 0;    // the same; else pairs of 16 bits
};

// The best of a few rounds each, with the instructions of `level`.
MachineSpeed MeasureMachine(base::ThreadPool& pool, CpuFeatures level);

// One probe alone, for benches that take it right before and after their own figure.
double MeasureReadBandwidth(base::ThreadPool& pool, CpuFeatures level);
double MeasureF32Peak(base::ThreadPool& pool, CpuFeatures level);
double MeasureBf16Peak(base::ThreadPool& pool, CpuFeatures level);
double MeasureInt8Peak(base::ThreadPool& pool, CpuFeatures level);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_MACHINE_H_
