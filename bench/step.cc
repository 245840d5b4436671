// SPDX-License-Identifier: Apache-2.0
//
// Where the time of a step goes: a prompt and a decode, operation by operation, each beside what
// the machine can do.
//
//   [CPU_FEATURES=avx512-vnni] step_bench CONFIG.json FORMAT [PROMPT_TOKENS [BATCH]]
//
//   step_bench shapes/codegen1-350M.json int8 512 1
//
// Random weights of the shape in CONFIG.json, kFast. Prints calls, milliseconds and share of the
// time per operation, and for products and attention the operations per second.
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/traced.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "base/usable_cpus.h"
#include "cpu/cpu_backend.h"
#include "cpu/machine.h"
#include "model/decoder.h"
#include "model/loader.h"
#include "program.h"

namespace codegen {
namespace {

using TracedCpu = backend::Traced<cpu::CpuBackend>;

struct Work {
  model::ModelConfig config;
  WeightFormat format = WeightFormat::kBf16;
  int prompt_tokens = 512;
  int batch = 1;
};

constexpr int kRuns = 5;

void Print(const char* title, const TracedCpu& traced, int runs) {
  double total = 0;
  for (const auto& [name, cost] : traced.costs()) total += cost.seconds;
  fmt::print("\n{}: {:.2f} ms\n", title, 1e3 * total / runs);
  std::vector<std::pair<std::string, backend::OperationCost>> costs(traced.costs().begin(),
                                                                    traced.costs().end());
  std::ranges::sort(
      costs, [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  for (const auto& [name, cost] : costs) {
    fmt::print("  {:22} {:5} calls {:9.3f} ms {:5.1f} %", name, cost.calls / runs,
               1e3 * cost.seconds / runs, 100 * cost.seconds / total);
    if (cost.operations > 0) fmt::print(" {:8.1f} Gop/s", cost.operations / cost.seconds * 1e-9);
    fmt::print("\n");
  }
}

// The arrays behind Rows: `sequences` of equal length, `count` new tokens each from `position` on.
struct Step {
  Step(int sequences, int position, int count, int pages_each) {
    for (int s = 0; s < sequences; ++s) {
      for (int i = 0; i < count; ++i) {
        tokens.push_back(i + s);
        positions.push_back(position + i);
      }
      first_row.push_back(count * (s + 1));
      first_page.push_back(pages_each * (s + 1));
      logit_rows.push_back(count * (s + 1) - 1);
    }
    pages.resize(static_cast<std::size_t>(pages_each * sequences));
    std::iota(pages.begin(), pages.end(), 0);
  }
  backend::Rows rows() const {
    return {tokens, positions, first_row, first_page, pages, logit_rows};
  }

  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions, first_row = {0}, first_page = {0}, pages, logit_rows;
};

template <class Layer>
absl::Status Run(cpu::CpuDevice& device, const Work& work) {
  model::RowInspector inspector(model::RowInspector::Finite::kIgnore);
  const model::RandomSource source;
  const model::LoadPlan plan{.config = work.config,
                             .formats = model::WantedFormats::From({.weights = work.format})};
  model::Loader<cpu::CpuDevice> loader(device, source, inspector, plan);
  CODEGEN_ASSIGN_OR_RETURN(const auto weights, loader.template Load<Layer>());
  const int pages = work.prompt_tokens / backend::kPageTokens + 2;
  std::vector<cpu::KvLayer> kv;
  for (int i = 0; i < work.config.layers; ++i) {
    CODEGEN_ASSIGN_OR_RETURN(auto layer, device.MakeKvLayer(pages * work.batch, work.config.heads));
    kv.push_back(std::move(layer));
  }
  const int rows = std::max(work.prompt_tokens, work.batch);
  CODEGEN_ASSIGN_OR_RETURN(auto activations,
                           model::MakeActivations(device, work.config, rows, work.batch));
  cpu::CpuBackend backend(device);
  TracedCpu traced(backend);
  const auto measure = [&](const char* title, const Step& step) {
    for (int run = 0; run <= kRuns; ++run) {
      model::Forward(traced, weights, step.rows(), kv, activations);
      if (run == 0) traced.Clear();  // touched fresh memory
    }
    Print(title, traced, kRuns);
    traced.Clear();
  };
  measure("prompt", Step(1, 0, work.prompt_tokens, pages));
  measure("decode", Step(work.batch, work.prompt_tokens, 1, pages));
  return absl::OkStatus();
}

absl::Status Main(const std::string& config_file, Work work) {
  CODEGEN_ASSIGN_OR_RETURN(work.config, model::ReadModelConfig(config_file, 0));
  CODEGEN_ASSIGN_OR_RETURN(const std::unique_ptr<base::ThreadPool> pool,
                           base::ThreadPool::Create(base::UsableCores()));
  const cpu::MachineSpeed speed = cpu::MeasureMachine(*pool, Level());
  fmt::print("{} threads, {}: reads {:.1f} GB/s, f32 {:.0f}, bf16 {:.0f}, int8 {:.0f} Gop/s\n",
             speed.threads, CpuFeaturesName(speed.level), speed.read_gb_s, speed.f32_gflops,
             speed.bf16_gflops, speed.int8_gops);
  cpu::CpuDevice device(
      *pool, {.level = Level(), .precision = ComputePrecision::kFast, .kv = KvFormat::kBf16});
  const bool llama = work.config.architecture == model::Architecture::kLlama;
  return llama ? Run<model::LlamaLayerOf<cpu::CpuDevice>>(device, work)
               : Run<model::CodeGenLayerOf<cpu::CpuDevice>>(device, work);
}

}  // namespace
}  // namespace codegen

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: step_bench CONFIG.json FORMAT [PROMPT_TOKENS [BATCH]]\n", stderr);
    return 2;
  }
  codegen::Work work{.format = codegen::FormatNamed(argv[2])};
  if (argc > 3) work.prompt_tokens = std::max(1, std::atoi(argv[3]));
  if (argc > 4) work.batch = std::max(1, std::atoi(argv[4]));
  const absl::Status status = codegen::Main(argv[1], std::move(work));
  if (!status.ok()) fmt::print(stderr, "step_bench: {}\n", status.ToString());
  return status.ok() ? 0 : 1;
}
