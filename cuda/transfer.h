// SPDX-License-Identifier: Apache-2.0
//
// The way into the memory of a device and back, in pieces through pinned memory: while a piece of
// weights is on its way, threads of the host lay out the next.
#ifndef CODEGEN_CUDA_TRANSFER_H_
#define CODEGEN_CUDA_TRANSFER_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "backend/backend.h"
#include "base/thread_pool.h"
#include "cuda/buffer.h"
#include "cuda/event.h"
#include "cuda/pack.h"
#include "cuda/stream.h"

namespace codegen::cuda {

// For one thread at a time, with the device current that it was made on.
class Transfer {
 public:
  // RESOURCE_EXHAUSTED. `pool` has to outlive it.
  static absl::StatusOr<Transfer> Create(base::ThreadPool& pool);

  // Reads all rows of `source`, each once, into `elements` and `scales` as `layout` says, and waits
  // until they are there. Errors: of the first row that fails; of the device.
  absl::Status SendRows(const backend::MatrixSource& source, const RowLayout& layout,
                        const DeviceBuffer& elements, const DeviceBuffer& scales);

  // Copies bytes to the beginning of a buffer, or from there, and waits for them.
  absl::Status Send(std::span<const std::byte> bytes, const DeviceBuffer& to);
  absl::Status Receive(const DeviceBuffer& from, std::span<std::byte> bytes);

 private:
  struct Piece {
    PinnedBuffer memory;
    Event sent;
  };

  Transfer(base::ThreadPool& pool, Stream stream, std::array<Piece, 2> pieces)
      : pool_(pool), stream_(std::move(stream)), pieces_(std::move(pieces)) {}

  absl::Status LayOut(const backend::MatrixSource& source, const RowLayout& layout,
                      std::int64_t first, std::int64_t count, std::byte* to);

  base::ThreadPool& pool_;
  Stream stream_;
  std::array<Piece, 2> pieces_;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_TRANSFER_H_
