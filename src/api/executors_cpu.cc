// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "api/executors.h"
#include "api/thread_pool_state.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_device.h"
#include "cpu/isa.h"
#include "cpu/machine.h"
#include "model/calibrated_loader.h"
#include "model/executor_of.h"
#include "model/sharded_executor.h"

namespace codegen::api {
namespace {

// The threads that compute, and the device they serve.
class CpuHost {
 public:
  CpuHost(std::shared_ptr<ThreadPool> pool, const cpu::CpuOptions& options)
      : pool_(std::move(pool)), device_(*pool_->state().pool, options) {}
  cpu::CpuDevice& device() { return device_; }
  MachineSpeed Measure() {
    const cpu::MachineSpeed speed = cpu::MeasureMachine(device_.pool(), device_.kernels().level);
    return {.threads = speed.threads,
            .isa = CpuFeaturesName(speed.level),
            .read_gb_s = speed.read_gb_s,
            .f32_gflops = speed.f32_gflops,
            .bf16_gflops = speed.bf16_gflops,
            .int8_gops = speed.int8_gops};
  }

 private:
  std::shared_ptr<ThreadPool> pool_;
  cpu::CpuDevice device_;
};

std::int64_t MemoryOfMachine() {
  return std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
}

const char* PeakName(cpu::Activations activations) {
  switch (activations) {
    case cpu::Activations::kBf16:
      return "bf16";
    case cpu::Activations::kInt8:
      return "int8";
    case cpu::Activations::kF32:
      break;
  }
  return "f32";
}

template <class Layer>
OnDevice Host(const std::shared_ptr<CpuHost>& host, model::Weights<cpu::CpuDevice, Layer> weights) {
  const WeightFormat format = weights.layers.front().out.format;  // every model has a layer
  using Model = model::DeviceModelOf<cpu::CpuBackend, Layer, CpuHost>;
  return OnDevice{.model = std::make_shared<const Model>(host, std::move(weights)),
                  .measure = [host] { return host->Measure(); },
                  .memory = &MemoryOfMachine,
                  .cpu_features = host->device().kernels().level,
                  .peak = PeakName(host->device().KernelFor(format).activations)};
}

// `loader` is a Loader, a CalibratedLoader or a SavedLoader onto the device of `host`.
template <class Loader>
absl::StatusOr<OnDevice> LoadWith(Loader& loader, model::Architecture architecture,
                                  const std::shared_ptr<CpuHost>& host) {
  if (architecture == model::Architecture::kLlama) {
    CODEGEN_ASSIGN_OR_RETURN(auto weights,
                             loader.template Load<model::LlamaLayerOf<cpu::CpuDevice>>());
    return Host(host, std::move(weights));
  }
  CODEGEN_ASSIGN_OR_RETURN(auto weights,
                           loader.template Load<model::CodeGenLayerOf<cpu::CpuDevice>>());
  return Host(host, std::move(weights));
}

absl::StatusOr<std::shared_ptr<CpuHost>> MakeHost(const LoadOptions& options) {
  CODEGEN_ASSIGN_OR_RETURN(const CpuFeatures level, cpu::ChooseLevel(options.cpu_features));
  CODEGEN_ASSIGN_OR_RETURN(std::shared_ptr<ThreadPool> pool, PoolOf(options));
  return std::make_shared<CpuHost>(
      std::move(pool),
      cpu::CpuOptions{.level = level, .precision = options.precision, .kv = options.kv_cache});
}

// What several threads have loaded, for a host that hears of it on its own.
class SharedProgress {
 public:
  explicit SharedProgress(const model::LoadPlan& plan) : plan_(plan) {}

  // Called on any thread. CANCELLED once Stop was called.
  absl::Status Add(std::int64_t elements) {
    done_ += elements;
    if (stopped_) return absl::CancelledError("another part of the model has failed to load");
    return std::this_thread::get_id() == host_ ? Report() : absl::OkStatus();
  }
  absl::Status Report() {
    const std::int64_t more = done_.exchange(0);
    return plan_.on_tensor && more > 0 ? plan_.on_tensor(more) : absl::OkStatus();
  }
  // Returns whether this is the first call.
  bool Stop() { return !stopped_.exchange(true); }

 private:
  const model::LoadPlan& plan_;
  const std::thread::id host_ = std::this_thread::get_id();
  std::atomic<std::int64_t> done_ = 0;
  std::atomic<bool> stopped_ = false;
};

absl::StatusOr<OnDevice> LoadShard(const LoadOptions& options, const model::TensorSource& source,
                                   model::RowInspector& inspector, const model::LoadPlan& plan) {
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<CpuHost> host, MakeHost(options));
  model::Loader<cpu::CpuDevice> loader(host->device(), source, inspector, plan);
  return LoadWith(loader, plan.config.architecture, host);
}

// The threads of the whole load all shards at the same time; each computes with its share of them.
absl::StatusOr<OnDevice> LoadShards(LoadOptions options, const model::TensorSource& source,
                                    model::RowInspector& inspector, const model::LoadPlan& plan) {
  const int count = options.parallel.tensor;
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<CpuHost> all, MakeHost(options));
  options.threads = std::max(1, all->device().pool().threads() / count);
  SharedProgress progress(plan);
  absl::Status failure;
  std::vector<OnDevice> shards(static_cast<std::size_t>(count));
  all->device().pool().ParallelFor(count, [&](std::int64_t rank) {
    const model::LoadPlan part{
        .config = plan.config,
        .shard = {.rank = static_cast<int>(rank), .count = count},
        .formats = plan.formats,
        .on_tensor = [&](std::int64_t elements) { return progress.Add(elements); }};
    absl::StatusOr<OnDevice> shard = LoadShard(options, source, inspector, part);
    if (shard.ok()) {
      shards[static_cast<std::size_t>(rank)] = *std::move(shard);
    } else if (progress.Stop()) {
      failure = shard.status();
    }
  });
  CODEGEN_RETURN_IF_ERROR(failure);
  CODEGEN_RETURN_IF_ERROR(progress.Report());

  std::vector<std::shared_ptr<const model::DeviceModel>> models;
  for (const OnDevice& shard : shards) models.push_back(shard.model);
  OnDevice whole = std::move(shards.front());
  whole.model = std::make_shared<const model::ShardedModel>(std::move(models));
  whole.measure = [all] { return all->Measure(); };
  return whole;
}

}  // namespace

absl::StatusOr<std::shared_ptr<ThreadPool>> PoolOf(const LoadOptions& options) {
  if (options.thread_pool == nullptr) return ThreadPool::Create({.threads = options.threads});
  if (options.threads == 0) return options.thread_pool;
  return absl::InvalidArgumentError(
      fmt::format("LoadOptions::threads is {}, must be 0 where LoadOptions::thread_pool is given",
                  options.threads));
}

absl::StatusOr<OnDevice> LoadOnCpu(const LoadOptions& options, const model::TensorSource& source,
                                   model::RowInspector& inspector, const model::LoadPlan& plan) {
  if (options.parallel.tensor > 1) return LoadShards(options, source, inspector, plan);
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<CpuHost> host, MakeHost(options));
  cpu::CpuDevice& device = host->device();
  if (plan.calibration.empty()) {
    model::Loader<cpu::CpuDevice> loader(device, source, inspector, plan);
    return LoadWith(loader, plan.config.architecture, host);
  }
  cpu::CpuDevice exact(device.pool(), {.level = device.kernels().level});
  model::CalibratedLoader<cpu::CpuBackend> loader(device, exact, source, inspector, plan);
  return LoadWith(loader, plan.config.architecture, host);
}

absl::StatusOr<OnDevice> LoadSavedOnCpu(const LoadOptions& options, const model::SavedModel& saved,
                                        const model::SavedPlan& plan) {
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<CpuHost> host, MakeHost(options));
  model::SavedLoader<cpu::CpuDevice> loader(host->device(), saved, plan);
  return LoadWith(loader, plan.config.architecture, host);
}

}  // namespace codegen::api
