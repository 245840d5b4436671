// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_source.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <set>

#include "base/check.h"

namespace codegen::model {
namespace {

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

absl::Status CheckTensor(const ExpectedTensor& expected, const checkpoint::TensorEntry& found) {
  if (found.shape != expected.shape) {
    return absl::InvalidArgumentError(
        fmt::format("{}: tensor \"{}\": shape {}, expected {} by config.json", found.file->name(),
                    expected.name, ShapeText(found.shape), ShapeText(expected.shape)));
  }
  if (!tensor::IsWeightType(found.dtype)) {
    return absl::UnimplementedError(
        fmt::format("{}: tensor \"{}\": dtype {}, expected F32, F16 or BF16", found.file->name(),
                    expected.name, tensor::DTypeName(found.dtype)));
  }
  return absl::OkStatus();
}

// Every expected tensor is there in its shape.
absl::Status CheckAllPresent(const std::vector<ExpectedTensor>& expected,
                             const checkpoint::Checkpoint& checkpoint) {
  for (const ExpectedTensor& tensor : expected) {
    const auto found = checkpoint.tensors().find(tensor.name);
    if (found == checkpoint.tensors().end()) {
      return absl::InvalidArgumentError(
          fmt::format("{}: tensor \"{}\" is missing", checkpoint.source(), tensor.name));
    }
    CODEGEN_RETURN_IF_ERROR(CheckTensor(tensor, found->second));
  }
  return absl::OkStatus();
}

// Nothing else is there, but for buffers.
absl::Status CheckNoneUnknown(const std::vector<ExpectedTensor>& expected,
                              const checkpoint::Checkpoint& checkpoint) {
  std::set<std::string, std::less<>> known;
  for (const ExpectedTensor& tensor : expected) known.insert(tensor.name);
  for (const auto& [name, entry] : checkpoint.tensors()) {
    if (known.contains(name) || IsIgnoredBuffer(name)) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: tensor \"{}\" {} belongs to no {} model of this shape", entry.file->name(),
                    name.substr(0, 200), ShapeText(entry.shape), checkpoint.source()));
  }
  return absl::OkStatus();
}

// SplitMix64 (Steele, Lea, Flood 2014): enough to fill a matrix with noise.
std::uint64_t Mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

void FillNoise(std::uint64_t seed, float center, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float uniform = static_cast<float>(Mix(seed + i) >> 40) * 0x1p-24F;  // [0, 1)
    out[i] = center + 0.1F * (uniform - 0.5F);
  }
}

// An exponent of all ones is infinity or NaN; tested on integers, which vectorises.
bool AllFinite(std::span<const float> values) {
  std::uint32_t largest = 0;
  for (const float value : values)
    largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7F800000U);
  return largest != 0x7F800000U;
}

std::uint64_t NameHash(const std::string& name) { return XXH3_64bits(name.data(), name.size()); }

}  // namespace

absl::StatusOr<CheckpointSource> CheckpointSource::Create(const ModelConfig& config,
                                                          checkpoint::Checkpoint checkpoint) {
  const std::vector<ExpectedTensor> expected = ExpectedTensors(config);
  CODEGEN_RETURN_IF_ERROR(CheckAllPresent(expected, checkpoint));
  CODEGEN_RETURN_IF_ERROR(CheckNoneUnknown(expected, checkpoint));
  return CheckpointSource(std::move(checkpoint));
}

absl::StatusOr<backend::MatrixSource> CheckpointSource::Open(const ExpectedTensor& tensor) const {
  CODEGEN_ASSIGN_OR_RETURN(std::unique_ptr<checkpoint::RowReader> opened,
                           checkpoint::Checkpoint::OpenRows(checkpoint_.tensors().at(tensor.name)));
  const std::shared_ptr<const checkpoint::RowReader> reader = std::move(opened);
  return backend::MatrixSource{
      .rows = reader->rows(),
      .columns = reader->columns(),
      .read = [reader](std::int64_t first, std::int64_t count, std::span<float> out) {
        return reader->Read(first, count, out);
      }};
}

WeightFormat CheckpointSource::StoredFormat(const ExpectedTensor& tensor) const {
  switch (checkpoint_.tensors().at(tensor.name).dtype) {
    case tensor::DType::kBf16:
      return WeightFormat::kBf16;
    case tensor::DType::kF16:
      return WeightFormat::kF16;
    default:
      return WeightFormat::kF32;
  }
}

absl::StatusOr<backend::MatrixSource> RandomSource::Open(const ExpectedTensor& tensor) const {
  const std::uint64_t seed = NameHash(tensor.name);
  const std::int64_t columns = tensor.columns();
  const bool gain = !tensor.is_matrix() && tensor.name.ends_with(".weight");
  return backend::MatrixSource{
      .rows = tensor.rows(),
      .columns = columns,
      .read = [seed, columns, gain](std::int64_t first, std::int64_t, std::span<float> out) {
        FillNoise(seed + static_cast<std::uint64_t>(first * columns), gain ? 1.0F : 0.0F, out);
        return absl::OkStatus();
      }};
}

backend::MatrixSource RowInspector::Inspect(const std::string& name, backend::MatrixSource source) {
  const std::int64_t columns = source.columns;
  auto read = [this, name, columns, inner = std::move(source.read)](
                  std::int64_t first, std::int64_t count, std::span<float> out) -> absl::Status {
    CODEGEN_RETURN_IF_ERROR(inner(first, count, out));
    const std::uint64_t key = NameHash(name);
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::span<const float> row =
          out.subspan(static_cast<std::size_t>(i * columns), static_cast<std::size_t>(columns));
      sum += XXH3_64bits_withSeed(row.data(), row.size_bytes(),
                                  key + static_cast<std::uint64_t>(first + i));
      if (finite_ == Finite::kIgnore) continue;
      if (!AllFinite(row)) {
        return absl::DataLossError(
            fmt::format("tensor \"{}\": row {} holds NaN or infinity", name, first + i));
      }
    }
    sum_.fetch_add(sum, std::memory_order_relaxed);
    return absl::OkStatus();
  };
  return {.rows = source.rows, .columns = columns, .read = std::move(read)};
}

std::string RowInspector::Fingerprint() const { return fmt::format("{:016x}", sum_.load()); }

WantedFormats WantedFormats::From(const LoadOptions& options) {
  WantedFormats wanted{.blocks = options.weights, .outer = options.head_weights};
  if (wanted.outer == WeightFormat::kAuto) {
    const bool int4 = options.weights == WeightFormat::kInt4;
    wanted.outer = int4 ? WeightFormat::kInt8 : options.weights;
  }
  return wanted;
}

WeightFormat HeldFormat(const StoredFormats& source, const ExpectedTensor& tensor,
                        const WantedFormats& wanted) {
  if (!tensor.is_matrix()) return WeightFormat::kF32;
  const bool block = tensor.place == Place::kBlock;
  const WeightFormat format = block ? wanted.blocks : wanted.outer;
  if (format == WeightFormat::kAuto) return source.StoredFormat(tensor);
  const bool int4_embedding = tensor.place == Place::kEmbedding && format == WeightFormat::kInt4;
  return int4_embedding ? WeightFormat::kInt8 : format;
}

backend::MatrixSource Stacked(std::vector<backend::MatrixSource> parts) {
  backend::MatrixSource stacked{.rows = 0, .columns = parts.front().columns, .read = {}};
  for (const backend::MatrixSource& part : parts) stacked.rows += part.rows;
  const std::int64_t columns = stacked.columns;
  stacked.read = [parts = std::move(parts), columns](std::int64_t first, std::int64_t count,
                                                     std::span<float> out) -> absl::Status {
    std::int64_t top = 0;  // of the current part
    for (const backend::MatrixSource& part : parts) {
      const std::int64_t begin = std::max(first, top);
      const std::int64_t end = std::min(first + count, top + part.rows);
      if (begin < end) {
        CODEGEN_RETURN_IF_ERROR(
            part.read(begin - top, end - begin,
                      out.subspan(static_cast<std::size_t>((begin - first) * columns),
                                  static_cast<std::size_t>((end - begin) * columns))));
      }
      top += part.rows;
    }
    return absl::OkStatus();
  };
  return stacked;
}

}  // namespace codegen::model
