// SPDX-License-Identifier: Apache-2.0
//
// The format, from torch/serialization.py and caffe2/serialize/inline_container.cc (torch >= 1.6):
//
//   <top>/data.pkl     the pickled dict of tensors (torch_pickle.h)
//   <top>/data/<key>   the elements of one storage
//   <top>/byteorder    "little" or "big"; absent in files of torch < 2.1, which are little-endian
//   <top>/version, <top>/.data/serialization_id, ...   of no use here
//   <top>/constants.pkl, <top>/code/   a TorchScript program: refused
//
// A tensor is a strided view of a storage. All that the pickle says about it is checked here
// against the record that the archive has for the storage. Transposed views are kept as they are;
// views whose elements overlap are refused, since they would let a small file claim any number of
// elements. Before torch 1.6 the file was a row of pickles that starts with a magic number.
#include "checkpoint/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/quote.h"
#include "checkpoint/torch_pickle.h"
#include "checkpoint/zip.h"
#include "codegen/options.h"

namespace codegen::checkpoint {
namespace {

constexpr std::int64_t kStartBytes = 64;
constexpr std::string_view kLegacyMagic =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

// Says what a file is that does not start like a zip archive.
absl::Status CheckStart(const base::File& file) {
  const absl::StatusOr<std::string> start = file.ReadString(0, std::min(file.size(), kStartBytes));
  CODEGEN_RETURN_IF_ERROR(start.status());
  const std::string_view head = *start;
  if (head.starts_with("PK\x03\x04")) return absl::OkStatus();
  if (head.starts_with(kLegacyMagic)) {
    return absl::UnimplementedError(
        fmt::format("{}: a file of torch before 1.6, expected the zip format: load and save it "
                    "with a newer torch, or convert it to safetensors",
                    file.name()));
  }
  return absl::DataLossError(fmt::format("{}: not a torch file: expected a zip archive{}",
                                         file.name(), base::WhatItLooksLike(head)));
}

absl::Status CheckArchive(const ZipArchive& archive, const std::string& file) {
  for (const auto& [name, record] : archive.records()) {
    if (name == "constants.pkl" || name.starts_with("code/")) {
      return absl::UnimplementedError(
          fmt::format("{}: a TorchScript program, expected weights", file));
    }
  }
  if (!archive.Find("byteorder")) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(const std::string order, archive.Read("byteorder", 16));
  if (order == "little") return absl::OkStatus();
  if (order == "big")
    return absl::UnimplementedError(fmt::format("{}: big-endian, expected little-endian", file));
  return absl::DataLossError(
      fmt::format("{}: byte order {}, expected \"little\"", file, base::Quote(order)));
}

// Places one tensor in the file.
class Placement {
 public:
  Placement(const ZipArchive& archive, std::shared_ptr<const base::File> file)
      : archive_(archive), file_(std::move(file)) {}

  absl::StatusOr<TensorEntry> Place(PickledTensor tensor) const;

 private:
  absl::StatusOr<ZipRecord> FindStorage(const PickledTensor& tensor) const;
  absl::Status CheckDimensions(const PickledTensor& tensor) const;
  absl::Status CheckSpan(const PickledTensor& tensor) const;
  absl::Status CheckApart(const PickledTensor& tensor) const;

  std::string Named(const PickledTensor& tensor, std::string_view what) const {
    return fmt::format("{}: tensor {}: {}", file_->name(), base::Quote(tensor.name), what);
  }
  absl::Status Malformed(const PickledTensor& tensor, std::string_view what) const {
    return absl::DataLossError(Named(tensor, what));
  }

  const ZipArchive& archive_;
  std::shared_ptr<const base::File> file_;
};

absl::StatusOr<ZipRecord> Placement::FindStorage(const PickledTensor& tensor) const {
  const std::optional<ZipRecord> record = archive_.Find("data/" + tensor.storage);
  if (!record)
    return Malformed(tensor,
                     fmt::format("no record for its storage {}", base::Quote(tensor.storage)));
  const std::optional<std::int64_t> bytes =
      base::CheckedMul(tensor.storage_elements, tensor::ItemBytes(tensor.dtype));
  if (tensor.storage_elements < 0 || !bytes || *bytes > record->bytes) {
    return Malformed(tensor, fmt::format("storage {} of {} {} elements in a record of {} bytes",
                                         base::Quote(tensor.storage), tensor.storage_elements,
                                         tensor::DTypeName(tensor.dtype), record->bytes));
  }
  return *record;
}

absl::Status Placement::CheckDimensions(const PickledTensor& tensor) const {
  if (tensor.shape.size() != tensor.strides.size()) {
    return Malformed(tensor, fmt::format("shape {} with strides {}", ShapeText(tensor.shape),
                                         ShapeText(tensor.strides)));
  }
  if (tensor.shape.size() > std::size_t{Limits::tensor_rank}) {
    return absl::ResourceExhaustedError(Named(
        tensor, fmt::format("{} dimensions, limit {}", tensor.shape.size(), Limits::tensor_rank)));
  }
  const auto negative = [](std::int64_t size) { return size < 0; };
  if (tensor.offset < 0 || std::ranges::any_of(tensor.shape, negative)) {
    return Malformed(tensor,
                     fmt::format("shape {} at offset {}", ShapeText(tensor.shape), tensor.offset));
  }
  if (std::ranges::any_of(tensor.strides, negative)) {
    return absl::InvalidArgumentError(
        Named(tensor, fmt::format("strides {}, expected none below 0", ShapeText(tensor.strides))));
  }
  return absl::OkStatus();
}

// Requires: CheckDimensions, no dimension is 0.
absl::Status Placement::CheckSpan(const PickledTensor& tensor) const {
  std::optional<std::int64_t> last = tensor.offset;
  for (std::size_t i = 0; last && i < tensor.shape.size(); ++i) {
    const auto reach = base::CheckedMul(tensor.shape[i] - 1, tensor.strides[i]);
    last = reach ? base::CheckedAdd(*last, *reach) : std::nullopt;
  }
  if (last && *last < tensor.storage_elements) return absl::OkStatus();
  return Malformed(tensor,
                   fmt::format("shape {} with strides {} at offset {} leads out of a storage of {} "
                               "elements",
                               ShapeText(tensor.shape), ShapeText(tensor.strides), tensor.offset,
                               tensor.storage_elements));
}

// Elements are apart if each stride steps over all that the smaller strides can reach.
// Requires: CheckSpan.
absl::Status Placement::CheckApart(const PickledTensor& tensor) const {
  std::vector<std::pair<std::int64_t, std::int64_t>> steps;  // stride, size
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (tensor.shape[i] > 1) steps.emplace_back(tensor.strides[i], tensor.shape[i]);
  }
  std::ranges::sort(steps);
  std::int64_t reach = 0;
  for (const auto& [stride, size] : steps) {
    if (stride <= reach) {
      return absl::InvalidArgumentError(
          Named(tensor, fmt::format("shape {} with strides {} overlaps itself",
                                    ShapeText(tensor.shape), ShapeText(tensor.strides))));
    }
    reach += (size - 1) * stride;
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorEntry> Placement::Place(PickledTensor tensor) const {
  CODEGEN_ASSIGN_OR_RETURN(const ZipRecord record, FindStorage(tensor));
  CODEGEN_RETURN_IF_ERROR(CheckDimensions(tensor));
  TensorEntry entry = {.name = tensor.name,
                       .dtype = tensor.dtype,
                       .shape = tensor.shape,
                       .strides = std::vector<std::int64_t>(tensor.shape.size(), 0),
                       .file = file_,
                       .file_offset = record.offset};
  if (CheckedElements(tensor.shape) == 0) return entry;
  CODEGEN_RETURN_IF_ERROR(CheckSpan(tensor));
  CODEGEN_RETURN_IF_ERROR(CheckApart(tensor));
  entry.strides = std::move(tensor.strides);
  entry.file_offset += tensor.offset * tensor::ItemBytes(tensor.dtype);
  return entry;
}

}  // namespace

absl::StatusOr<std::vector<TensorEntry>> ListTorchFile(
    const std::shared_ptr<const base::File>& file) {
  CODEGEN_RETURN_IF_ERROR(CheckStart(*file));
  CODEGEN_ASSIGN_OR_RETURN(const ZipArchive archive, ZipArchive::Open(file));
  CODEGEN_RETURN_IF_ERROR(CheckArchive(archive, file->name()));
  CODEGEN_ASSIGN_OR_RETURN(const std::string pickle,
                           archive.Read("data.pkl", Limits::pickle_bytes));
  CODEGEN_ASSIGN_OR_RETURN(std::vector<PickledTensor> tensors,
                           MatchTorchPickle(pickle, file->name()));
  const Placement placement(archive, file);
  std::vector<TensorEntry> entries;
  for (PickledTensor& tensor : tensors) {
    CODEGEN_ASSIGN_OR_RETURN(entries.emplace_back(), placement.Place(std::move(tensor)));
  }
  return entries;
}

}  // namespace codegen::checkpoint
