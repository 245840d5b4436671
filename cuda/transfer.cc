// SPDX-License-Identifier: Apache-2.0
#include "cuda/transfer.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/first_failure.h"
#include "cuda/check.h"

namespace codegen::cuda {
namespace {

// Enough to keep the way to the device busy while a thread is woken up.
constexpr std::size_t kPinnedBytes = std::size_t{4} << 20;

// Rows that a thread lays out at a time.
constexpr std::int64_t kTaskRows = 16;

absl::Status PutCopy(const std::byte* from, std::size_t bytes, std::byte* to,
                     const Stream& stream) {
  if (bytes == 0) return absl::OkStatus();
  return Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream.get()),
               "copying to the GPU");
}

}  // namespace

absl::StatusOr<Transfer> Transfer::Create(base::ThreadPool& pool) {
  const auto make_piece = []() -> absl::StatusOr<Piece> {
    CODEGEN_ASSIGN_OR_RETURN(PinnedBuffer memory, PinnedBuffer::Create(kPinnedBytes));
    CODEGEN_ASSIGN_OR_RETURN(Event sent, Event::Create(EventUse::kOrder));
    return Piece{std::move(memory), std::move(sent)};
  };
  CODEGEN_ASSIGN_OR_RETURN(Stream stream, Stream::Create());
  CODEGEN_ASSIGN_OR_RETURN(Piece first, make_piece());
  CODEGEN_ASSIGN_OR_RETURN(Piece second, make_piece());
  return Transfer(pool, std::move(stream), {std::move(first), std::move(second)});
}

absl::Status Transfer::SendRows(const backend::MatrixSource& source, const RowLayout& layout,
                                const DeviceBuffer& elements, const DeviceBuffer& scales) {
  const std::int64_t row_bytes = layout.elements + layout.scales;
  const std::int64_t most = std::max<std::int64_t>(1, std::int64_t{kPinnedBytes} / row_bytes);
  for (std::int64_t first = 0, turn = 0; first < source.rows; first += most, ++turn) {
    Piece& piece = pieces_[static_cast<std::size_t>(turn % 2)];
    CODEGEN_RETURN_IF_ERROR(piece.sent.Synchronize());
    if (piece.memory.bytes() < row_bytes) {
      CODEGEN_ASSIGN_OR_RETURN(piece.memory, PinnedBuffer::Create(row_bytes));
    }
    const std::int64_t count = std::min(most, source.rows - first);
    std::byte* const data = piece.memory.data();
    CODEGEN_RETURN_IF_ERROR(LayOut(source, layout, first, count, data));
    const auto bytes = [count](std::int64_t of_row) {
      return static_cast<std::size_t>(count * of_row);
    };
    CODEGEN_RETURN_IF_ERROR(
        PutCopy(data, bytes(layout.elements), elements.data() + first * layout.elements, stream_));
    CODEGEN_RETURN_IF_ERROR(PutCopy(data + bytes(layout.elements), bytes(layout.scales),
                                    scales.data() + first * layout.scales, stream_));
    CODEGEN_RETURN_IF_ERROR(piece.sent.Record(stream_));
  }
  return stream_.Synchronize();
}

// All elements, then all scales.
absl::Status Transfer::LayOut(const backend::MatrixSource& source, const RowLayout& layout,
                              std::int64_t first, std::int64_t count, std::byte* to) {
  base::FirstFailure failure;
  pool_.ParallelFor((count + kTaskRows - 1) / kTaskRows, [&](std::int64_t task) {
    const std::int64_t begin = task * kTaskRows;
    const std::int64_t rows = std::min(kTaskRows, count - begin);
    std::byte* const elements = to + begin * layout.elements;
    std::byte* const scales = to + count * layout.elements + begin * layout.scales;
    if (source.read_stored && source.stored == layout.format &&
        layout.elements == 2 * layout.columns) {
      auto* const bits = reinterpret_cast<std::uint16_t*>(elements);
      failure.Report(first + begin,
                     source.read_stored(first + begin, rows,
                                        {bits, static_cast<std::size_t>(rows * layout.columns)}));
      return;
    }
    const auto columns = static_cast<std::size_t>(layout.columns);
    std::vector<float> floats(static_cast<std::size_t>(rows) * columns);
    absl::Status status = source.read(first + begin, rows, floats);
    for (std::int64_t row = 0; status.ok() && row < rows; ++row)
      PackRow(layout, std::span(floats).subspan(static_cast<std::size_t>(row) * columns, columns),
              elements + row * layout.elements, scales + row * layout.scales);
    failure.Report(first + begin, std::move(status));
  });
  return failure.Take();
}

absl::Status Transfer::Send(std::span<const std::byte> bytes, const DeviceBuffer& to) {
  std::byte* const through = pieces_[0].memory.data();
  for (std::size_t first = 0; first < bytes.size(); first += kPinnedBytes) {
    const std::span part = bytes.subspan(first).first(std::min(kPinnedBytes, bytes.size() - first));
    std::memcpy(through, part.data(), part.size());
    CODEGEN_RETURN_IF_ERROR(PutCopy(through, part.size(), to.data() + first, stream_));
    CODEGEN_RETURN_IF_ERROR(stream_.Synchronize());
  }
  return absl::OkStatus();
}

absl::Status Transfer::Receive(const DeviceBuffer& from, std::span<std::byte> bytes) {
  std::byte* const through = pieces_[0].memory.data();
  for (std::size_t first = 0; first < bytes.size(); first += kPinnedBytes) {
    const std::span part = bytes.subspan(first).first(std::min(kPinnedBytes, bytes.size() - first));
    CODEGEN_RETURN_IF_ERROR(Check(cudaMemcpyAsync(through, from.data() + first, part.size(),
                                                  cudaMemcpyDeviceToHost, stream_.get()),
                                  "copying from the GPU"));
    CODEGEN_RETURN_IF_ERROR(stream_.Synchronize());
    std::memcpy(part.data(), through, part.size());
  }
  return absl::OkStatus();
}

}  // namespace codegen::cuda
