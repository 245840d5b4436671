// SPDX-License-Identifier: Apache-2.0
//
// What a step is to devices that work beside the thread that calls them, and to all others.
//
// On a CPU an operation is done when its call returns. A GPU is told of many operations in advance,
// reads what changes from step to step from its own memory, and reports failures when it gets to
// them. Such a backend has more than the concept asks for:
//
//   B::Create(device, limits)   takes the memory for the arrays of a step; may fail
//   b.Run(step, compute)        brings the arrays of a step to the device in one piece, calls
//                               compute(), which calls operations for this step and no other, or
//                               repeats what it recorded when it called one like it, and waits;
//                               returns the first failure of anything
//   device.Upload and Download  may return an absl::Status
#ifndef CODEGEN_BACKEND_STEP_H_
#define CODEGEN_BACKEND_STEP_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/backend.h"

namespace codegen::backend {

// The most that a step asks for.
struct StepLimits {
  std::int64_t rows = 0;
  std::int64_t logit_rows = 0;
  std::int64_t context = 0;  // positions of a sequence
  Heads heads = {};          // of every layer
};

// Empty spans: not sampled. All that they view outlives the step.
struct Step {
  const Rows& rows;
  std::span<const Sampling> sampling = {};  // [logit rows] or empty
  std::span<SampledToken> tokens = {};      // [logit rows] if sampling is given
};

// `communicator` is a pointer to that of a rank, or null for a backend that is alone. Errors: of
// B::Create; UNIMPLEMENTED if B is always alone.
template <Backend B, class Communicator = std::nullptr_t>
absl::StatusOr<B> MakeBackend(typename B::Device& device, const StepLimits& limits,
                              const Communicator& communicator = nullptr) {
  if constexpr (requires { B(device, communicator); }) {
    return B(device, communicator);
  } else {
    if (communicator != nullptr)
      return absl::UnimplementedError("this device is not one of several ranks");
    if constexpr (requires { B::Create(device, limits); }) {
      return B::Create(device, limits);
    } else {
      return B(device);
    }
  }
}

// compute() calls the operations of `step`. Errors: of B::Run.
template <Backend B, std::invocable Compute>
absl::Status Run(B& b, const Step& step, const Compute& compute) {
  if constexpr (requires { b.Run(step, compute); }) {
    return b.Run(step, compute);
  } else {
    compute();
    return absl::OkStatus();
  }
}

// Calls work(), which may return an absl::Status, and returns it.
template <std::invocable Work>
absl::Status StatusOf(const Work& work) {
  if constexpr (std::same_as<decltype(work()), absl::Status>) {
    return work();
  } else {
    work();
    return absl::OkStatus();
  }
}

// y = floats. Errors: of the device's Upload.
template <DeviceConcept D>
absl::Status Upload(D& device, std::span<const float> floats, typename D::Tensor& y) {
  return StatusOf([&] { return device.Upload(floats, y); });
}

// out = x. Errors: of the device's Download.
template <DeviceConcept D>
absl::Status Download(D& device, const typename D::Tensor& x, std::span<float> out) {
  return StatusOf([&] { return device.Download(x, out); });
}

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_STEP_H_
