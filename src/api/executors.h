// SPDX-License-Identifier: Apache-2.0
//
// The devices a model can be loaded onto: one function each, in a file of its own, so that a device
// that is not built is a stub and nothing else knows of it.
#ifndef CODEGEN_API_EXECUTORS_H_
#define CODEGEN_API_EXECUTORS_H_

#include <absl/status/statusor.h>

#include <functional>
#include <memory>

#include "codegen/benchmark.h"
#include "model/executor.h"
#include "model/loader.h"

namespace codegen::api {

// Weights on a device, and how to measure the device.
struct OnDevice {
  std::shared_ptr<const model::DeviceModel> model = {};
  std::function<MachineSpeed()> measure = {};
};

// `threads` >= 0, 0 for all that the process may use. Errors: as Loader::Load; RESOURCE_EXHAUSTED
// (threads).
absl::StatusOr<OnDevice> LoadOnCpu(int threads, const model::TensorSource& source,
                                   model::RowInspector& inspector, const model::LoadPlan& plan);

}  // namespace codegen::api

#endif  // CODEGEN_API_EXECUTORS_H_
