// SPDX-License-Identifier: Apache-2.0
//
// How fast a model runs on this machine, and how close that is to what the machine can do.
#ifndef CODEGEN_BENCHMARK_H_
#define CODEGEN_BENCHMARK_H_

#include <absl/status/statusor.h>

#include <functional>
#include <string>
#include <vector>

#include "codegen/export.h"
#include "codegen/model.h"

namespace codegen {

// Peaks with the model's threads: the better of two probes, just before and just after the model.
// Of a GPU isa is its name, read_gb_s counts the bytes that a copy reads and writes, bf16_gflops is
// a product by cuBLASLt (0 without it), and the other numbers are 0.
struct MachineSpeed {
  int threads = 0;
  std::string isa = {};    // CpuFeaturesName of the instructions that the model runs on
  double read_gb_s = 0;    // reading memory much larger than the caches, 1e9 bytes per second
  double f32_gflops = 0;   // multiply-adds on float32 in registers, two operations each
  double bf16_gflops = 0;  // the same on bfloat16: dot products where isa has them, else as float32
  double int8_gops = 0;    // the same on int8: dot products where isa has them, else as int16
};

struct BenchmarkOptions {
  std::vector<int> prompt_tokens = {128};  // each at least 1
  int new_tokens = 32;  // decode steps timed per batch size, after a prompt of prompt_tokens[0]
  std::vector<int> batch = {1, 4, 8, 16};     // sequences decoded together, in [1, 1024]
  std::function<void(double)> progress = {};  // share of the work done, in [0, 1]; must not throw
};

struct PrefillSpeed {
  int tokens = 0;
  double tok_s = 0;
  // Operations of all products and of attention over time, of the peak of the instructions that
  // the weights are multiplied with: f32_gflops, bf16_gflops or int8_gops. On a GPU always
  // bf16_gflops; 0 where that is.
  double share_of_peak = 0;
};

struct DecodeSpeed {
  int batch = 0;
  int context = 0;  // tokens per sequence before the first timed step
  double tok_s = 0;
  double share_of_bandwidth =
      0;  // of read_gb_s: bytes of weights and cache that a step must read over time
};

struct BenchmarkResult {
  MachineSpeed machine = {};
  std::string peak = {};  // "f32", "bf16" or "int8": what share_of_peak is a share of
  std::vector<PrefillSpeed> prefill = {};
  std::vector<DecodeSpeed> decode = {};
};

// Runs each case a few times and returns the median. Blocks; uses the model's compute threads.
// Errors: INVALID_ARGUMENT (a length beyond the context, an empty list), RESOURCE_EXHAUSTED
// (memory).
CODEGEN_EXPORT absl::StatusOr<BenchmarkResult> RunBenchmark(const Model& model,
                                                            const BenchmarkOptions& options = {});

}  // namespace codegen

#endif  // CODEGEN_BENCHMARK_H_
