// SPDX-License-Identifier: Apache-2.0
#include "cuda/stream.h"

#include <cuda_runtime_api.h>

#include "base/check.h"
#include "cuda/check.h"

namespace codegen::cuda {

absl::StatusOr<Stream> Stream::Create() {
  cudaStream_t stream = nullptr;
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream"));
  return Stream(stream);
}

absl::Status Stream::WaitFor(const Event& event) const {
  return Check(cudaStreamWaitEvent(stream_.get(), event.get(), 0), "waiting for an event");
}

absl::Status Stream::Synchronize() const {
  return Check(cudaStreamSynchronize(stream_.get()), "waiting for a stream");
}

void Stream::Destroy::operator()(cudaStream_t stream) const {
  static_cast<void>(cudaStreamDestroy(stream));
}

}  // namespace codegen::cuda
