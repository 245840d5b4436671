// SPDX-License-Identifier: Apache-2.0
//
// The devices a model can be loaded onto: one function each, in a file of its own, so that a device
// that is not built is a stub and nothing else knows of it.
#ifndef CODEGEN_API_EXECUTORS_H_
#define CODEGEN_API_EXECUTORS_H_

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <string>

#include "codegen/benchmark.h"
#include "model/executor.h"
#include "model/loader.h"
#include "model/saved_loader.h"

namespace codegen::api {

// Weights on a device, and how to measure the device.
struct OnDevice {
  std::shared_ptr<const model::DeviceModel> model = {};
  std::function<MachineSpeed()> measure = {};
  CpuFeatures cpu_features = CpuFeatures::kPortable;
  std::string peak = {};  // BenchmarkResult::peak
};

// `options` have no kAuto in kv_cache. Errors: as Loader::Load or CalibratedLoader::Load;
// RESOURCE_EXHAUSTED (threads); FAILED_PRECONDITION (cpu_features).
absl::StatusOr<OnDevice> LoadOnCpu(const LoadOptions& options, const model::TensorSource& source,
                                   model::RowInspector& inspector, const model::LoadPlan& plan);

// The same for a saved model. Errors: as SavedLoader::Load, and as above.
absl::StatusOr<OnDevice> LoadSavedOnCpu(const LoadOptions& options, const model::SavedModel& saved,
                                        const model::SavedPlan& plan);

}  // namespace codegen::api

#endif  // CODEGEN_API_EXECUTORS_H_
