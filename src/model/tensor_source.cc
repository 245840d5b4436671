// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_source.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/check.h"
#include "model/row_hash.h"

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

std::uint64_t NameHash(const std::string& name) { return XXH3_64bits(name.data(), name.size()); }

RowHash HashOf(std::span<const float> row, WeightFormat, std::uint64_t seed) {
  return HashRow(row, seed);
}

RowHash HashOf(std::span<const std::uint16_t> row, WeightFormat stored, std::uint64_t seed) {
  return HashRow(row, stored, seed);
}

WeightFormat FormatOf(tensor::DType dtype) {
  switch (dtype) {
    case tensor::DType::kBf16:
      return WeightFormat::kBf16;
    case tensor::DType::kF16:
      return WeightFormat::kF16;
    default:
      return WeightFormat::kF32;
  }
}

// Empty for float32.
backend::ReadRows<std::uint16_t> StoredRows(std::shared_ptr<const checkpoint::RowReader> reader) {
  if (reader->dtype() == tensor::DType::kF32) return {};
  return [reader = std::move(reader)](std::int64_t first, std::int64_t count,
                                      std::span<std::uint16_t> out) {
    return reader->ReadStored(first, count, out);
  };
}

template <class Element>
struct Part {
  std::int64_t rows = 0;
  backend::ReadRows<Element> read = {};
};

// Reads rows of parts that lie one above the other.
template <class Element>
backend::ReadRows<Element> ReadAcross(std::vector<Part<Element>> parts, std::int64_t columns) {
  return [parts = std::move(parts), columns](std::int64_t first, std::int64_t count,
                                             std::span<Element> out) -> absl::Status {
    std::int64_t top = 0;  // of the current part
    for (const Part<Element>& part : parts) {
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
}

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
      .read = [reader](std::int64_t first, std::int64_t count,
                       std::span<float> out) { return reader->Read(first, count, out); },
      .read_stored = StoredRows(reader),
      .stored = FormatOf(reader->dtype())};
}

WeightFormat CheckpointSource::StoredFormat(const ExpectedTensor& tensor) const {
  return FormatOf(checkpoint_.tensors().at(tensor.name).dtype);
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
  const Matrix matrix{.name = name, .columns = source.columns, .stored = source.stored};
  return std::move(source).Wrapped([&]<class Element>(backend::ReadRows<Element> inner) {
    return [this, matrix, inner = std::move(inner)](std::int64_t first, std::int64_t count,
                                                    std::span<Element> out) -> absl::Status {
      CODEGEN_RETURN_IF_ERROR(inner(first, count, out));
      return InspectRows(matrix, first, std::span<const Element>(out));
    };
  });
}

template <class Element>
absl::Status RowInspector::InspectRows(const Matrix& matrix, std::int64_t first,
                                       std::span<const Element> rows) {
  const auto columns = static_cast<std::size_t>(matrix.columns);
  std::uint64_t key = NameHash(matrix.name) + static_cast<std::uint64_t>(first);
  std::uint64_t sum = 0;
  for (; !rows.empty(); rows = rows.subspan(columns), ++first, ++key) {
    const RowHash row = HashOf(rows.first(columns), matrix.stored, key);
    sum += row.hash;
    if (finite_ == Finite::kIgnore || row.finite) continue;
    return absl::DataLossError(
        fmt::format("tensor \"{}\": row {} holds NaN or infinity", matrix.name, first));
  }
  sum_.fetch_add(sum, std::memory_order_relaxed);
  return absl::OkStatus();
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
  backend::MatrixSource stacked{.columns = parts.front().columns, .stored = parts.front().stored};
  bool as_stored = true;
  std::vector<Part<float>> floats;
  std::vector<Part<std::uint16_t>> bits;
  for (backend::MatrixSource& part : parts) {
    as_stored = as_stored && part.read_stored && part.stored == stacked.stored;
    stacked.rows += part.rows;
    floats.push_back({part.rows, std::move(part.read)});
    bits.push_back({part.rows, std::move(part.read_stored)});
  }
  stacked.read = ReadAcross(std::move(floats), stacked.columns);
  if (as_stored) stacked.read_stored = ReadAcross(std::move(bits), stacked.columns);
  return stacked;
}

}  // namespace codegen::model
