// SPDX-License-Identifier: Apache-2.0
//
// The devices a model can be loaded onto: one function each, in a file of its own, so that a device
// that is not built is a stub and nothing else knows of it.
#ifndef CODEGEN_API_EXECUTORS_H_
#define CODEGEN_API_EXECUTORS_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "codegen/benchmark.h"
#include "codegen/thread_pool.h"
#include "model/executor.h"
#include "model/loader.h"
#include "model/saved_loader.h"

namespace codegen::api {

// Weights on a device, and how to measure the device.
struct OnDevice {
  std::shared_ptr<const model::DeviceModel> model = {};
  std::function<MachineSpeed()> measure = {};
  // Bytes that keys and values may be taken from: of the machine, or what is left of
  // LoadOptions::device_memory.
  std::function<std::int64_t()> memory = {};
  CpuFeatures cpu_features = CpuFeatures::kPortable;  // on a GPU as it is here
  std::string peak = {};                              // BenchmarkResult::peak
  std::string gpu_library = {};                       // ModelInfo::gpu_library
};

// LoadOptions::thread_pool, or a pool of the model's own. INVALID_ARGUMENT if both are asked for;
// RESOURCE_EXHAUSTED.
absl::StatusOr<std::shared_ptr<ThreadPool>> PoolOf(const LoadOptions& options);

// `options` have no kAuto in kv_cache. Errors: as Loader::Load or CalibratedLoader::Load;
// RESOURCE_EXHAUSTED (threads); FAILED_PRECONDITION (cpu_features).
absl::StatusOr<OnDevice> LoadOnCpu(const LoadOptions& options, const model::TensorSource& source,
                                   model::RowInspector& inspector, const model::LoadPlan& plan);

// The same on LoadOptions::device, a GPU, within LoadOptions::device_memory; `plan` has no
// calibration. A build without CUDA has a stub here (no_executors_cuda.cc).
// Errors: as Loader::Load; RESOURCE_EXHAUSTED (memory of the GPU); FAILED_PRECONDITION (no such
// GPU, or a build without CUDA).
absl::StatusOr<OnDevice> LoadOnCuda(const LoadOptions& options, const model::TensorSource& source,
                                    model::RowInspector& inspector, const model::LoadPlan& plan);

// LoadOnCpu for a saved model. Errors: as SavedLoader::Load, and as above.
absl::StatusOr<OnDevice> LoadSavedOnCpu(const LoadOptions& options, const model::SavedModel& saved,
                                        const model::SavedPlan& plan);

}  // namespace codegen::api

#endif  // CODEGEN_API_EXECUTORS_H_
