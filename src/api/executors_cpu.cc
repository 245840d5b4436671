// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "api/executors.h"
#include "api/thread_pool_state.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_device.h"
#include "cpu/isa.h"
#include "cpu/machine.h"
#include "model/calibrated_loader.h"
#include "model/executor_of.h"

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
