// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>

#include "api/executors.h"
#include "api/thread_pool_state.h"
#include "base/check.h"
#include "codegen/thread_pool.h"
#include "cuda/cuda_backend.h"
#include "cuda/cuda_device.h"
#include "cuda/machine_blas.h"
#include "cuda/measure.h"
#include "model/executor_of.h"

namespace codegen::api {
namespace {

// The threads that lay weights out, and the device.
class CudaHost {
 public:
  static absl::StatusOr<std::shared_ptr<CudaHost>> Create(const LoadOptions& options) {
    CODEGEN_ASSIGN_OR_RETURN(std::shared_ptr<ThreadPool> pool, PoolOf(options));
    CODEGEN_ASSIGN_OR_RETURN(std::unique_ptr<cuda::CudaDevice> device,
                             cuda::CudaDevice::Create({.device = options.device.index,
                                                       .memory = options.device_memory,
                                                       .deterministic = options.deterministic},
                                                      cuda::MachineBlas(), *pool->state().pool));
    return std::make_shared<CudaHost>(std::move(pool), std::move(device));
  }

  CudaHost(std::shared_ptr<ThreadPool> pool, std::unique_ptr<cuda::CudaDevice> device)
      : pool_(std::move(pool)), device_(std::move(device)) {}

  cuda::CudaDevice& device() { return *device_; }

  std::string Library() const {
    if (device_->options().deterministic) return "none: deterministic";
    const absl::StatusOr<cuda::BlasFunctions>& blas = device_->blas();
    if (blas.ok()) return "cuBLASLt " + cuda::BlasVersion(*blas);
    return "none: " + std::string(blas.status().message());
  }

  MachineSpeed Measure() {
    const absl::StatusOr<cuda::DeviceSpeed> speed = cuda::MeasureDevice(*device_);
    if (!speed.ok()) return {};
    return {.isa = speed->name, .read_gb_s = speed->copy_gb_s, .bf16_gflops = speed->bf16_gflops};
  }

 private:
  std::shared_ptr<ThreadPool> pool_;
  std::unique_ptr<cuda::CudaDevice> device_;
};

template <class Layer>
absl::StatusOr<OnDevice> Load(const std::shared_ptr<CudaHost>& host,
                              const model::TensorSource& source, model::RowInspector& inspector,
                              const model::LoadPlan& plan) {
  model::Loader<cuda::CudaDevice> loader(host->device(), source, inspector, plan);
  CODEGEN_ASSIGN_OR_RETURN(auto weights, loader.template Load<Layer>());
  using Model = model::DeviceModelOf<cuda::CudaBackend, Layer, CudaHost>;
  return OnDevice{.model = std::make_shared<const Model>(host, std::move(weights)),
                  .measure = [host] { return host->Measure(); },
                  .memory = [host] { return host->device().budget().free_bytes(); },
                  .peak = "bf16",
                  .gpu_library = host->Library()};
}

}  // namespace

absl::StatusOr<OnDevice> LoadOnCuda(const LoadOptions& options, const model::TensorSource& source,
                                    model::RowInspector& inspector, const model::LoadPlan& plan) {
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<CudaHost> host, CudaHost::Create(options));
  if (plan.config.architecture == model::Architecture::kLlama)
    return Load<model::LlamaLayerOf<cuda::CudaDevice>>(host, source, inspector, plan);
  return Load<model::CodeGenLayerOf<cuda::CudaDevice>>(host, source, inspector, plan);
}

}  // namespace codegen::api
