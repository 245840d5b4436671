// SPDX-License-Identifier: Apache-2.0
//
// An owned stream.
#ifndef CODEGEN_CUDA_STREAM_H_
#define CODEGEN_CUDA_STREAM_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <driver_types.h>

#include <memory>
#include <type_traits>

#include "cuda/event.h"

namespace codegen::cuda {

// Work put into it runs in order, and beside that of all other streams: it neither waits for the
// default stream of the host process nor makes that wait. Belongs to the device that was current
// when it was made. What it holds when it is destroyed is still done.
class Stream {
 public:
  static absl::StatusOr<Stream> Create();

  // For calls of CUDA; stays owned.
  cudaStream_t get() const { return stream_.get(); }

  // What follows in this stream runs after what `event` recorded. Does not wait.
  absl::Status WaitFor(const Event& event) const;

  // Waits until everything in it is done. Never within a step: an event tells what a step needs to
  // know, and earlier.
  absl::Status Synchronize() const;

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const;
  };

  explicit Stream(cudaStream_t stream) : stream_(stream) {}

  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, Destroy> stream_;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_STREAM_H_
