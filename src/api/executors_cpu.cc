// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "api/executors.h"
#include "base/thread_pool.h"
#include "base/usable_cpus.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_device.h"
#include "cpu/isa.h"
#include "cpu/machine.h"
#include "model/executor_of.h"

namespace codegen::api {
namespace {

// The threads that compute, and the device they serve.
class CpuHost {
 public:
  CpuHost(std::unique_ptr<base::ThreadPool> pool, const cpu::CpuOptions& options)
      : pool_(std::move(pool)), device_(*pool_, options) {}
  cpu::CpuDevice& device() { return device_; }
  MachineSpeed Measure() const {
    const cpu::MachineSpeed speed = cpu::MeasureMachine(*pool_, device_.kernels().level);
    return {.threads = speed.threads,
            .isa = CpuFeaturesName(speed.level),
            .read_gb_s = speed.read_gb_s,
            .f32_gflops = speed.f32_gflops,
            .bf16_gflops = speed.bf16_gflops,
            .int8_gops = speed.int8_gops};
  }

 private:
  std::unique_ptr<base::ThreadPool> pool_;
  cpu::CpuDevice device_;
};

template <class Layer>
absl::StatusOr<OnDevice> LoadLayers(std::shared_ptr<CpuHost> host,
                                    const model::TensorSource& source,
                                    model::RowInspector& inspector, const model::LoadPlan& plan) {
  model::Loader<cpu::CpuDevice> loader(host->device(), source, inspector, plan);
  CODEGEN_ASSIGN_OR_RETURN(auto weights, loader.template Load<Layer>());
  using Model = model::DeviceModelOf<cpu::CpuBackend, Layer, CpuHost>;
  return OnDevice{.model = std::make_shared<const Model>(host, std::move(weights)),
                  .measure = [host] { return host->Measure(); }};
}

}  // namespace

absl::StatusOr<OnDevice> LoadOnCpu(const LoadOptions& options, const model::TensorSource& source,
                                   model::RowInspector& inspector, const model::LoadPlan& plan) {
  CODEGEN_ASSIGN_OR_RETURN(const CpuFeatures level, cpu::ChooseLevel(options.cpu_features));
  const int threads = options.threads == 0 ? base::UsableCpus() : options.threads;
  CODEGEN_ASSIGN_OR_RETURN(std::unique_ptr<base::ThreadPool> pool,
                           base::ThreadPool::Create(threads));
  auto host = std::make_shared<CpuHost>(
      std::move(pool), cpu::CpuOptions{.level = level, .precision = options.precision});
  if (plan.config.architecture == model::Architecture::kLlama) {
    return LoadLayers<model::LlamaLayerOf<cpu::CpuDevice>>(std::move(host), source, inspector,
                                                           plan);
  }
  return LoadLayers<model::CodeGenLayerOf<cpu::CpuDevice>>(std::move(host), source, inspector,
                                                           plan);
}

}  // namespace codegen::api
