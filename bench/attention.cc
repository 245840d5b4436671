// SPDX-License-Identifier: Apache-2.0
//
// Attend at the heads of CodeGen1-350M (16 of 64), against what the machine can do at that moment:
// a prompt of one sequence (share of the measured peak of f32 multiply-adds), and a decode step of
// 1 or 16 sequences (share of the measured read bandwidth). Times are of one layer; decode walks
// through as many layers as make 256 MiB, so that none is found in a cache.
//
//   attention_bench --benchmark_filter=decode
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/rows.h"
#include "base/thread_pool.h"
#include "base/usable_cpus.h"
#include "codegen/options.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_device.h"
#include "cpu/isa.h"
#include "cpu/machine.h"

namespace codegen::cpu {
namespace {

constexpr backend::Heads kHeads{.count = 16, .dim = 64, .rotary_dim = 32};
constexpr std::int64_t kWidth = kHeads.count * kHeads.dim;

// Sequences of `context` positions, the last `rows` of which are computed.
struct Batch {
  Batch(int sequences, int context, int rows) {
    const int pages_each = (context + backend::kPageTokens - 1) / backend::kPageTokens;
    pages.resize(static_cast<std::size_t>(sequences * pages_each));
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(1));
    for (int s = 0; s < sequences; ++s) {
      for (int i = context - rows; i < context; ++i) positions.push_back(i);
      first_row.push_back(static_cast<std::int32_t>(positions.size()));
      first_page.push_back((s + 1) * pages_each);
    }
    tokens.resize(positions.size());
  }

  backend::Rows rows() const {
    return {.tokens = tokens,
            .positions = positions,
            .first_row = first_row,
            .first_page = first_page,
            .pages = pages,
            .logit_rows = {}};
  }

  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> first_row = {0};
  std::vector<std::int32_t> first_page = {0};
  std::vector<std::int32_t> pages;
};

struct Machine {
  Machine(KvFormat kv, ComputePrecision precision)
      : device(*pool, {.precision = precision, .kv = kv}) {}

  Tensor MakeTensor(std::int64_t rows, std::int64_t columns) {
    std::vector<float> floats(static_cast<std::size_t>(rows * columns));
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : floats) value = normal(random);
    Tensor tensor = *device.MakeTensor(rows, columns);
    tensor.SetRows(rows);
    device.Upload(floats, tensor);
    return tensor;
  }

  std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(base::UsableCores());
  CpuDevice device;
  CpuBackend backend{device};
};

// What is held and how it is multiplied.
struct How {
  KvFormat kv;
  ComputePrecision precision;
  const char* name;
};

constexpr How kHows[] = {{KvFormat::kF32, ComputePrecision::kExact, "f32"},
                         {KvFormat::kBf16, ComputePrecision::kExact, "bf16 exact"},
                         {KvFormat::kBf16, ComputePrecision::kFast, "bf16 fast"}};

const How& HowOf(const benchmark::State& state) {
  return kHows[static_cast<std::size_t>(state.range(0))];
}

// Shares are of probes taken right before and right after.
void Report(benchmark::State& state, const std::string& unit, double amount, double before,
            double after) {
  const double total = amount * static_cast<double>(state.iterations());
  state.counters[unit] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["share"] =
      benchmark::Counter(total * 1e-9 * 2 / (before + after), benchmark::Counter::kIsRate);
  state.SetLabel(HowOf(state).name);
}

void Prefill(benchmark::State& state) {
  Machine machine(HowOf(state).kv, HowOf(state).precision);
  const auto tokens = static_cast<int>(state.range(1));
  const Batch batch(1, tokens, tokens);
  KvLayer kv = *machine.device.MakeKvLayer(static_cast<std::int64_t>(batch.pages.size()), kHeads);
  const Tensor x = machine.MakeTensor(tokens, 3 * kWidth);
  Tensor y = machine.MakeTensor(tokens, kWidth);
  const double before = MeasureF32Peak(*machine.pool, BestLevel());
  for (auto _ : state) machine.backend.Attend(x, batch.rows(), kHeads, kv, y);
  Report(state, "GFLOP/s", 2.0 * kWidth * tokens * (tokens + 1.0), before,
         MeasureF32Peak(*machine.pool, BestLevel()));
}

void Decode(benchmark::State& state) {
  Machine machine(HowOf(state).kv, HowOf(state).precision);
  const auto sequences = static_cast<int>(state.range(1));
  const auto context = static_cast<int>(state.range(2));
  const Batch batch(sequences, context, 1);
  const double bytes =
      2.0 * kWidth * sequences * context * (HowOf(state).kv == KvFormat::kF32 ? 4 : 2);
  std::vector<KvLayer> layers(static_cast<std::size_t>(0x1p28 / bytes) + 1);
  for (KvLayer& kv : layers) {
    kv = *machine.device.MakeKvLayer(static_cast<std::int64_t>(batch.pages.size()), kHeads);
    std::ranges::fill(kv.buffer.as<std::uint32_t>(), 0x3C003C00U);  // writes every page
  }
  const Tensor x = machine.MakeTensor(sequences, 3 * kWidth);
  Tensor y = machine.MakeTensor(sequences, kWidth);
  const double before = MeasureReadBandwidth(*machine.pool, BestLevel());
  std::size_t layer = 0;
  for (auto _ : state) {
    machine.backend.Attend(x, batch.rows(), kHeads, layers[layer], y);
    layer = (layer + 1) % layers.size();
  }
  Report(state, "GB/s", bytes, before, MeasureReadBandwidth(*machine.pool, BestLevel()));
}

BENCHMARK(Prefill)
    ->Name("prefill")
    ->ArgNames({"how", "tokens"})
    ->ArgsProduct({{0, 1, 2}, {128, 512, 2048}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(Decode)
    ->Name("decode")
    ->ArgNames({"how", "sequences", "context"})
    ->ArgsProduct({{0, 1, 2}, {1, 16}, {128, 512, 2048}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace codegen::cpu
