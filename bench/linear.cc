// SPDX-License-Identifier: Apache-2.0
//
// Linear at the shapes of CodeGen1-350M, against what the machine can do at that moment: a decode
// step is all matrices once at 1 to 16 rows (share of the measured read bandwidth), a prompt is the
// matrices of one layer at 32 to 512 rows (share of the measured peak of the instructions that the
// format is multiplied with).
//
//   [CPU_FEATURES=avx512-vnni] linear_bench --benchmark_filter=decode
#include <absl/status/statusor.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"
#include "base/usable_cpus.h"
#include "codegen/options.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_device.h"
#include "cpu/machine.h"
#include "program.h"

namespace codegen::cpu {
namespace {

constexpr std::int64_t kWidth = 1024;
constexpr std::int64_t kInner = 4096;
constexpr std::int64_t kVocabulary = 51200;
constexpr int kLayers = 20;

struct Machine {
  std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(base::UsableCores());
  CpuDevice device{*pool, {.level = Level(), .precision = ComputePrecision::kFast}};
  CpuBackend backend{device};

  // Of the instructions that a format is multiplied with.
  double MeasurePeak(WeightFormat format) {
    switch (device.KernelFor(format).activations) {
      case cpu::Activations::kInt8:
        return MeasureInt8Peak(*pool, Level());
      case cpu::Activations::kBf16:
        return MeasureBf16Peak(*pool, Level());
      case cpu::Activations::kF32:
        break;
    }
    return MeasureF32Peak(*pool, Level());
  }

  Tensor MakeTensor(std::int64_t rows, std::int64_t columns) {
    Tensor tensor = *device.MakeTensor(rows, columns);
    tensor.SetRows(rows);
    device.Upload(std::vector<float>(static_cast<std::size_t>(rows * columns), 0.25F), tensor);
    return tensor;
  }

  Weight MakeWeight(std::int64_t outputs, std::int64_t inputs, WeightFormat format) {
    const backend::MatrixSource source{
        .rows = outputs,
        .columns = inputs,
        .read = [](std::int64_t first, std::int64_t, std::span<float> out) {
          std::fill(out.begin(), out.end(), 1.0F / static_cast<float>(first + 1));
          return absl::OkStatus();
        }};
    return *device.MakeWeight(source, {}, format);
  }
};

// The matrices of a layer with the activations that they read and write.
struct Layer {
  Layer(Machine& machine, WeightFormat format)
      : qkv(machine.MakeWeight(3 * kWidth, kWidth, format)),
        out(machine.MakeWeight(kWidth, kWidth, format)),
        up(machine.MakeWeight(kInner, kWidth, format)),
        down(machine.MakeWeight(kWidth, kInner, format)) {}

  std::int64_t bytes() const {
    return qkv.panels.size() + out.panels.size() + up.panels.size() + down.panels.size();
  }
  static constexpr double kFlops = 2.0 * kWidth * (4 * kWidth + 2 * kInner);  // of one row

  Weight qkv, out, up, down;
};

struct Buffers {
  Buffers(Machine& machine, std::int64_t rows)
      : x(machine.MakeTensor(rows, kWidth)),
        qkv(machine.MakeTensor(rows, 3 * kWidth)),
        inner(machine.MakeTensor(rows, kInner)),
        y(machine.MakeTensor(rows, kWidth)) {}

  void Run(Machine& machine, const Layer& layer) {
    machine.backend.Linear(x, layer.qkv, backend::Then::kStore, qkv);
    machine.backend.Linear(x, layer.out, backend::Then::kAdd, y);
    machine.backend.Linear(x, layer.up, backend::Then::kGelu, inner);
    machine.backend.Linear(inner, layer.down, backend::Then::kAdd, y);
  }

  Tensor x, qkv, inner, y;
};

WeightFormat FormatOf(const benchmark::State& state) {
  return static_cast<WeightFormat>(state.range(0));
}

// Shares are of probes taken right before and right after.
void Report(benchmark::State& state, const std::string& unit, double amount, double before,
            double after) {
  const double total = amount * static_cast<double>(state.iterations());
  state.counters[unit] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["share"] =
      benchmark::Counter(total * 1e-9 * 2 / (before + after), benchmark::Counter::kIsRate);
  state.SetLabel(WeightFormatName(FormatOf(state)));
}

void Decode(benchmark::State& state) {
  Machine machine;
  std::vector<Layer> layers;
  for (int i = 0; i < kLayers; ++i) layers.emplace_back(machine, FormatOf(state));
  const Weight head = machine.MakeWeight(kVocabulary, kWidth, FormatOf(state));
  Buffers buffers(machine, state.range(1));
  Tensor logits = machine.MakeTensor(state.range(1), kVocabulary);
  const double before = MeasureReadBandwidth(*machine.pool, Level());
  for (auto _ : state) {
    for (const Layer& layer : layers) buffers.Run(machine, layer);
    machine.backend.Linear(buffers.y, head, backend::Then::kStore, logits);
  }
  Report(state, "GB/s", static_cast<double>(kLayers * layers[0].bytes() + head.panels.size()),
         before, MeasureReadBandwidth(*machine.pool, Level()));
}

void Prefill(benchmark::State& state) {
  Machine machine;
  const Layer layer(machine, FormatOf(state));
  Buffers buffers(machine, state.range(1));
  const double before = machine.MeasurePeak(FormatOf(state));
  for (auto _ : state) buffers.Run(machine, layer);
  Report(state, "GFLOP/s", Layer::kFlops * static_cast<double>(state.range(1)), before,
         machine.MeasurePeak(FormatOf(state)));
}

constexpr auto kF32 = static_cast<std::int64_t>(WeightFormat::kF32);
constexpr auto kBf16 = static_cast<std::int64_t>(WeightFormat::kBf16);
constexpr auto kInt8 = static_cast<std::int64_t>(WeightFormat::kInt8);
constexpr auto kInt4 = static_cast<std::int64_t>(WeightFormat::kInt4);
constexpr auto kF16 = static_cast<std::int64_t>(WeightFormat::kF16);

BENCHMARK(Decode)
    ->Name("decode")
    ->ArgNames({"format", "rows"})
    ->ArgsProduct({{kF32, kBf16, kF16, kInt8, kInt4}, {1, 2, 4, 8, 16}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(Prefill)
    ->Name("prefill")
    ->ArgNames({"format", "rows"})
    ->ArgsProduct({{kF32, kBf16, kF16, kInt8, kInt4}, {32, 64, 128, 256, 512}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace codegen::cpu
