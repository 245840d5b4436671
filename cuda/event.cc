// SPDX-License-Identifier: Apache-2.0
#include "cuda/event.h"

#include <cuda_runtime_api.h>

#include "base/check.h"
#include "cuda/check.h"
#include "cuda/stream.h"

namespace codegen::cuda {

absl::StatusOr<Event> Event::Create(EventUse use) {
  const unsigned int timing = use == EventUse::kTiming ? 0 : cudaEventDisableTiming;
  cudaEvent_t event = nullptr;
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaEventCreateWithFlags(&event, cudaEventBlockingSync | timing), "creating an event"));
  return Event(event);
}

absl::Status Event::Record(const Stream& stream) const {
  return Check(cudaEventRecord(event_.get(), stream.get()), "recording an event");
}

absl::StatusOr<bool> Event::IsReached() const {
  const cudaError_t error = cudaEventQuery(event_.get());
  if (error == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());  // where CUDA keeps it as if it were an error
    return false;
  }
  CODEGEN_RETURN_IF_ERROR(Check(error, "asking for an event"));
  return true;
}

absl::Status Event::Synchronize() const {
  return Check(cudaEventSynchronize(event_.get()), "waiting for an event");
}

void Event::Destroy::operator()(cudaEvent_t event) const {
  static_cast<void>(cudaEventDestroy(event));
}

absl::StatusOr<std::chrono::duration<double>> ElapsedBetween(const Event& from, const Event& to) {
  float milliseconds = 0;
  CODEGEN_RETURN_IF_ERROR(Check(cudaEventElapsedTime(&milliseconds, from.get(), to.get()),
                                "reading the time between events"));
  return std::chrono::duration<double, std::milli>(static_cast<double>(milliseconds));
}

}  // namespace codegen::cuda
