// SPDX-License-Identifier: Apache-2.0
#include "model/saved_loader.h"

#include <algorithm>
#include <mutex>
#include <span>

#include "checkpoint/tensor_entry.h"

namespace codegen::model {
namespace {

// Whole huge pages, more or less: two threads that meet in one would both clear it.
constexpr std::int64_t kPieceBytes = std::int64_t{4} << 20;

std::string TypeText(tensor::DType dtype, const std::vector<std::int64_t>& shape) {
  return fmt::format("{} {}", tensor::DTypeName(dtype), checkpoint::ShapeText(shape));
}

// Some rows of a part.
absl::Status ReadRows(const checkpoint::TensorEntry& tensor, const backend::Part& part,
                      std::int64_t offset, std::span<std::byte> rows, RowInspector::Finite finite) {
  CODEGEN_RETURN_IF_ERROR(tensor.file->Read(tensor.file_offset + offset, rows));
  const bool checked = finite == RowInspector::Finite::kRequire && part.valid;
  if (!checked || part.valid(rows)) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("{}: tensor \"{}\" holds NaN, infinity or a scale below zero",
                  tensor.file->name(), tensor.name));
}

}  // namespace

absl::Status CheckPart(const checkpoint::Checkpoint& checkpoint, const std::string& name,
                       const backend::Part& part) {
  const auto found = checkpoint.tensors().find(name);
  if (found == checkpoint.tensors().end()) {
    return absl::InvalidArgumentError(fmt::format("{}: tensor \"{}\" is missing, expected {}",
                                                  checkpoint.source(), name,
                                                  TypeText(part.dtype, part.shape)));
  }
  const checkpoint::TensorEntry& tensor = found->second;
  if (tensor.dtype == part.dtype && tensor.shape == part.shape) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: tensor \"{}\": {}, expected {} by config.json", checkpoint.source(), name,
                  TypeText(tensor.dtype, tensor.shape), TypeText(part.dtype, part.shape)));
}

absl::Status CheckNoOther(const checkpoint::Checkpoint& checkpoint,
                          std::vector<std::string> names) {
  if (names.size() == checkpoint.tensors().size()) return absl::OkStatus();
  std::ranges::sort(names);
  const auto& tensors = checkpoint.tensors();
  const auto other = std::ranges::find_if(tensors, [&](const auto& tensor) {
    return !std::ranges::binary_search(names, tensor.first);
  });
  return absl::InvalidArgumentError(
      fmt::format("{}: tensor {} belongs to no saved model of this shape", checkpoint.source(),
                  base::Quote(other->first)));
}

absl::Status ReadPart(const checkpoint::TensorEntry& tensor, RowInspector::Finite finite,
                      base::ThreadPool& pool, const backend::Part& part) {
  const auto bytes = static_cast<std::int64_t>(part.bytes.size());
  const std::int64_t row_bytes = std::max<std::int64_t>(bytes / part.shape.front(), 1);
  const std::int64_t piece = std::max<std::int64_t>(kPieceBytes / row_bytes, 1) * row_bytes;
  std::mutex mutex;
  absl::Status first;  // guarded by mutex
  pool.ParallelFor((bytes + piece - 1) / piece, [&](std::int64_t task) {
    const std::int64_t offset = task * piece;
    const auto size = static_cast<std::size_t>(std::min(piece, bytes - offset));
    absl::Status status = ReadRows(
        tensor, part, offset, part.bytes.subspan(static_cast<std::size_t>(offset), size), finite);
    if (status.ok()) return;
    const std::lock_guard lock(mutex);
    first.Update(std::move(status));
  });
  return first;
}

}  // namespace codegen::model
