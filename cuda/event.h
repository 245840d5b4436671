// SPDX-License-Identifier: Apache-2.0
//
// An owned event: a place in a stream that others can wait for.
#ifndef CODEGEN_CUDA_EVENT_H_
#define CODEGEN_CUDA_EVENT_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <driver_types.h>

#include <chrono>
#include <memory>
#include <type_traits>

namespace codegen::cuda {

class Stream;

enum class EventUse {
  kOrder,   // only whether it has been reached, which is cheaper
  kTiming,  // also when, for ElapsedBetween
};

// An event that was never recorded counts as reached.
class Event {
 public:
  static absl::StatusOr<Event> Create(EventUse use);

  // For calls of CUDA; stays owned.
  cudaEvent_t get() const { return event_.get(); }

  // Moves it to behind what `stream` holds now.
  absl::Status Record(const Stream& stream) const;

  // Whether everything before it is done. Does not wait.
  absl::StatusOr<bool> IsReached() const;

  // Waits until it is. The thread sleeps: the cores belong to the host process.
  absl::Status Synchronize() const;

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const;
  };

  explicit Event(cudaEvent_t event) : event_(event) {}

  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy> event_;
};

// Requires: both are of EventUse::kTiming, recorded and reached.
absl::StatusOr<std::chrono::duration<double>> ElapsedBetween(const Event& from, const Event& to);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_EVENT_H_
