// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "api/executors.h"
#include "api/thread_pool_state.h"
#include "base/check.h"
#include "codegen/thread_pool.h"
#include "cuda/cuda_backend.h"
#include "cuda/cuda_device.h"
#include "cuda/machine_blas.h"
#include "cuda/measure.h"
#include "cuda/tune.h"
#include "model/executor_of.h"

namespace codegen::api {
namespace {

using backend::Holds;
using backend::Then;

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

  // ModelInfo::gpu_library, with what there is to say of tuning.
  std::string Library(const std::string& tuned) const {
    if (device_->options().deterministic) return "none: deterministic";
    const absl::StatusOr<cuda::BlasFunctions>& blas = device_->blas();
    if (blas.ok()) return "cuBLASLt " + cuda::BlasVersion(*blas) + tuned;
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

// What blocks do with their weights (model/codegen_block.h, model/llama_block.h).
std::vector<cuda::LinearProduct> ProductsOf(const model::CodeGenLayerOf<cuda::CudaDevice>& layer) {
  return {{.weight = &layer.qkv, .y = Holds::kFactors},
          {.weight = &layer.out},
          {.weight = &layer.up, .then = Then::kGelu, .y = Holds::kFactors},
          {.weight = &layer.down, .then = Then::kAdd}};
}

std::vector<cuda::LinearProduct> ProductsOf(const model::LlamaLayerOf<cuda::CudaDevice>& layer) {
  return {{.weight = &layer.qkv, .y = Holds::kFactors},
          {.weight = &layer.out},
          {.weight = &layer.gate_up, .y = Holds::kFactors},
          {.weight = &layer.down}};
}

// The first block stands for all. Returns what there is to say of it.
template <class Layer>
absl::StatusOr<std::string> Tune(cuda::CudaDevice& device,
                                 const model::Weights<cuda::CudaDevice, Layer>& weights,
                                 const TuningOptions& options, cuda::GemmTuning known) {
  if (options.rows == 0) return "";
  std::vector<cuda::LinearProduct> products = ProductsOf(weights.layers.front());
  products.push_back({.weight = &weights.head});
  CODEGEN_ASSIGN_OR_RETURN(const cuda::Tuned tuned,
                           cuda::TuneProducts(device, products, options, std::move(known)));
  if (tuned.failure.ok()) return fmt::format(", {} products tuned", tuned.products);
  return fmt::format(", not tuned: {}", std::string(tuned.failure.message()));
}

template <class Layer>
absl::StatusOr<OnDevice> Load(const std::shared_ptr<CudaHost>& host, const TuningOptions& tuning,
                              const model::TensorSource& source, model::RowInspector& inspector,
                              const model::LoadPlan& plan) {
  // Before the weights, which take longer to read than a bad file does to be found.
  CODEGEN_ASSIGN_OR_RETURN(cuda::GemmTuning known, cuda::ReadTuningOf(host->device(), tuning));
  model::Loader<cuda::CudaDevice> loader(host->device(), source, inspector, plan);
  CODEGEN_ASSIGN_OR_RETURN(auto weights, loader.template Load<Layer>());
  CODEGEN_ASSIGN_OR_RETURN(const std::string tuned,
                           Tune(host->device(), weights, tuning, std::move(known)));
  using Model = model::DeviceModelOf<cuda::CudaBackend, Layer, CudaHost>;
  return OnDevice{.model = std::make_shared<const Model>(host, std::move(weights)),
                  .measure = [host] { return host->Measure(); },
                  .memory = [host] { return host->device().budget().free_bytes(); },
                  .peak = "bf16",
                  .gpu_library = host->Library(tuned)};
}

}  // namespace

absl::StatusOr<OnDevice> LoadOnCuda(const LoadOptions& options, const model::TensorSource& source,
                                    model::RowInspector& inspector, const model::LoadPlan& plan) {
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<CudaHost> host, CudaHost::Create(options));
  if (plan.config.architecture == model::Architecture::kLlama)
    return Load<model::LlamaLayerOf<cuda::CudaDevice>>(host, options.tuning, source, inspector,
                                                       plan);
  return Load<model::CodeGenLayerOf<cuda::CudaDevice>>(host, options.tuning, source, inspector,
                                                       plan);
}

}  // namespace codegen::api
