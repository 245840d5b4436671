// SPDX-License-Identifier: Apache-2.0
//
// Reading rows as they are stored, which is what loading does where it can, or as float32: some 700
// MB for the smallest published model, 32 GB for the largest.
//
// Contiguous rows need no buffer. The n 16-bit elements of a piece are read into the upper half of
// the n floats they become, bytes [2n, 4n), and widened from the front: when i of them are done the
// floats end at byte 4i, which is never beyond 2n + 2i, where the raw elements not yet widened
// begin. They go through a small block on the stack, since near the end the two meet within one
// vector.
//
// A transposed tensor is read whole, as it is stored, and gathered: rows then cost the same at any
// position. Tiles of 64 rows and 16 columns are turned over on the stack, so that every column
// visited, each in a page of its own, gives two full cache lines and every row takes one.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/quote.h"
#include "checkpoint/checkpoint.h"
#include "tensor/half.h"

namespace codegen::checkpoint {
namespace {

using tensor::DType;

static_assert(std::endian::native == std::endian::little,
              "files are little-endian and are read in place");

// 256 KiB of floats: stays in the second-level cache between reading and widening.
constexpr std::int64_t kPiece = std::int64_t{64} << 10;
constexpr std::size_t kBlock = 512;
constexpr std::int64_t kTileRows = 64;
constexpr std::int64_t kTileColumns = 16;

// The same value as tensor::FloatFromF16 without a branch, so that compilers vectorise the loop
// over it (three times the bytes per second of the branches, on an AMD EPYC with gcc 12):
// subnormals and infinities are computed always and selected.
inline float WidenF16(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7FFFU;
  const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F;
  const std::uint32_t is_normal = 0U - static_cast<std::uint32_t>(magnitude >= 0x400U);
  const std::uint32_t is_special = 0U - static_cast<std::uint32_t>(magnitude >= 0x7C00U);
  const std::uint32_t normal = (magnitude << 13) + 0x38000000U + (is_special & 0x38000000U);
  const std::uint32_t bits =
      (is_normal & normal) | (~is_normal & std::bit_cast<std::uint32_t>(subnormal));
  return std::bit_cast<float>(bits | ((half & 0x8000U) << 16));
}

struct WidenHalf {
  float operator()(std::uint16_t bits) const { return WidenF16(bits); }
};

struct WidenBrain {
  float operator()(std::uint16_t bits) const { return tensor::FloatFromBf16(bits); }
};

// raw [count, unaligned] -> out [count]; they may overlap as the head of this file says.
template <class Widen>
void WidenPiece(const std::byte* raw, std::size_t count, float* out) {
  std::uint16_t block[kBlock] = {};
  for (; count >= kBlock; count -= kBlock, raw += sizeof(block), out += kBlock) {
    std::memcpy(block, raw, sizeof(block));
    for (std::size_t i = 0; i < kBlock; ++i) out[i] = Widen{}(block[i]);
  }
  std::memcpy(block, raw, count * sizeof(block[0]));
  for (std::size_t i = 0; i < count; ++i) out[i] = Widen{}(block[i]);
}

void WidenPiece(DType dtype, const std::byte* raw, std::size_t count, float* out) {
  if (dtype == DType::kF16) return WidenPiece<WidenHalf>(raw, count, out);
  WidenPiece<WidenBrain>(raw, count, out);
}

// A rank-1 or rank-2 tensor as a matrix.
struct Matrix {
  std::int64_t rows = 1;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;

  bool is_contiguous() const {
    return (columns <= 1 || column_stride == 1) && (rows <= 1 || row_stride == columns);
  }
  // How many elements lie between the first and the last, both included.
  std::int64_t reach() const {
    if (rows == 0 || columns == 0) return 0;
    return (rows - 1) * row_stride + (columns - 1) * column_stride + 1;
  }
};

Matrix MatrixOf(const TensorEntry& entry) {
  if (entry.shape.size() == 1)
    return {.columns = entry.shape[0], .column_stride = entry.strides[0]};
  return {.rows = entry.shape[0],
          .columns = entry.shape[1],
          .row_stride = entry.strides[0],
          .column_stride = entry.strides[1]};
}

class ContiguousRows final : public RowReader {
 public:
  ContiguousRows(const TensorEntry& entry, const Matrix& matrix)
      : file_(entry.file), offset_(entry.file_offset), dtype_(entry.dtype), matrix_(matrix) {}

  std::int64_t rows() const override { return matrix_.rows; }
  std::int64_t columns() const override { return matrix_.columns; }
  tensor::DType dtype() const override { return dtype_; }

  absl::Status Read(std::int64_t first, [[maybe_unused]] std::int64_t count,
                    std::span<float> out) const override {
    CODEGEN_DCHECK(first >= 0 && count >= 0 && first <= rows() - count);
    CODEGEN_DCHECK(out.size() == static_cast<std::size_t>(count * columns()));
    std::int64_t offset = OffsetOf(first);
    if (dtype_ == DType::kF32) return file_->Read(offset, std::as_writable_bytes(out));
    while (!out.empty()) {
      const std::span<float> piece = out.first(std::min<std::size_t>(out.size(), kPiece));
      CODEGEN_RETURN_IF_ERROR(ReadPiece(offset, piece));
      offset += static_cast<std::int64_t>(piece.size()) * tensor::ItemBytes(dtype_);
      out = out.subspan(piece.size());
    }
    return absl::OkStatus();
  }

  absl::Status ReadStored(std::int64_t first, [[maybe_unused]] std::int64_t count,
                          std::span<std::uint16_t> out) const override {
    CODEGEN_DCHECK(first >= 0 && count >= 0 && first <= rows() - count);
    CODEGEN_DCHECK(out.size() == static_cast<std::size_t>(count * columns()));
    return file_->Read(OffsetOf(first), std::as_writable_bytes(out));
  }

 private:
  std::int64_t OffsetOf(std::int64_t row) const {
    return offset_ + row * columns() * tensor::ItemBytes(dtype_);
  }

  absl::Status ReadPiece(std::int64_t offset, std::span<float> piece) const {
    const std::span<std::byte> raw = std::as_writable_bytes(piece).last(piece.size_bytes() / 2);
    CODEGEN_RETURN_IF_ERROR(file_->Read(offset, raw));
    WidenPiece(dtype_, raw.data(), piece.size(), piece.data());
    return absl::OkStatus();
  }

  std::shared_ptr<const base::File> file_;
  std::int64_t offset_;
  DType dtype_;
  Matrix matrix_;
};

// Rows of any strides, gathered from a copy of all that they reach.
class GatheredRows final : public RowReader {
 public:
  static absl::StatusOr<std::unique_ptr<RowReader>> Create(const TensorEntry& entry,
                                                           const Matrix& matrix) {
    const auto bytes = static_cast<std::size_t>(matrix.reach() * tensor::ItemBytes(entry.dtype));
    std::unique_ptr<std::byte[]> stored(new (std::nothrow) std::byte[bytes]);
    if (stored == nullptr) {
      return absl::ResourceExhaustedError(fmt::format("{}: tensor {}: no memory for {} bytes",
                                                      entry.file->name(), base::Quote(entry.name),
                                                      bytes));
    }
    CODEGEN_RETURN_IF_ERROR(entry.file->Read(entry.file_offset, {stored.get(), bytes}));
    return std::make_unique<GatheredRows>(entry.dtype, matrix, std::move(stored));
  }

  GatheredRows(DType dtype, const Matrix& matrix, std::unique_ptr<std::byte[]> stored)
      : dtype_(dtype), matrix_(matrix), stored_(std::move(stored)) {}

  std::int64_t rows() const override { return matrix_.rows; }
  std::int64_t columns() const override { return matrix_.columns; }
  tensor::DType dtype() const override { return dtype_; }

  absl::Status Read(std::int64_t first, std::int64_t count, std::span<float> out) const override {
    CODEGEN_DCHECK(first >= 0 && count >= 0 && first <= rows() - count);
    CODEGEN_DCHECK(out.size() == static_cast<std::size_t>(count * columns()));
    if (dtype_ == DType::kF32) {
      Gather<float>(first, count, out, [](float value) { return value; });
    } else if (dtype_ == DType::kF16) {
      Gather<std::uint16_t>(first, count, out, WidenHalf{});
    } else {
      Gather<std::uint16_t>(first, count, out, WidenBrain{});
    }
    return absl::OkStatus();
  }

  absl::Status ReadStored(std::int64_t first, std::int64_t count,
                          std::span<std::uint16_t> out) const override {
    CODEGEN_DCHECK(first >= 0 && count >= 0 && first <= rows() - count);
    CODEGEN_DCHECK(out.size() == static_cast<std::size_t>(count * columns()));
    Gather<std::uint16_t>(first, count, out, [](std::uint16_t bits) { return bits; });
    return absl::OkStatus();
  }

 private:
  // A part of the matrix.
  struct Tile {
    std::int64_t row, rows;        // rows <= kTileRows
    std::int64_t column, columns;  // columns <= kTileColumns
  };

  template <class Stored, class Element, class Widen>
  void Gather(std::int64_t first, std::int64_t count, std::span<Element> out, Widen widen) const {
    for (std::int64_t row = 0; row < count; row += kTileRows) {
      for (std::int64_t column = 0; column < columns(); column += kTileColumns) {
        const Tile tile = {.row = first + row,
                           .rows = std::min(kTileRows, count - row),
                           .column = column,
                           .columns = std::min(kTileColumns, columns() - column)};
        GatherTile<Stored>(tile, out.data() + row * columns() + column, widen);
      }
    }
  }

  // Writes the tile to `out`, where rows are columns() apart.
  template <class Stored, class Element, class Widen>
  void GatherTile(const Tile& tile, Element* out, Widen widen) const {
    Element turned[kTileColumns][kTileRows];
    Stored stored[kTileRows] = {};
    for (std::int64_t column = 0; column < tile.columns; ++column) {
      LoadColumn(tile, tile.column + column, stored);
      for (std::int64_t row = 0; row < kTileRows; ++row) turned[column][row] = widen(stored[row]);
    }
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      for (std::int64_t column = 0; column < tile.columns; ++column)
        out[row * columns() + column] = turned[column][row];
    }
  }

  template <class Stored>
  void LoadColumn(const Tile& tile, std::int64_t column, Stored* out) const {
    constexpr std::int64_t kBytes = sizeof(Stored);
    const std::byte* const start =
        stored_.get() + (tile.row * matrix_.row_stride + column * matrix_.column_stride) * kBytes;
    if (matrix_.row_stride == 1) {
      std::memcpy(out, start, static_cast<std::size_t>(tile.rows * kBytes));
      return;
    }
    for (std::int64_t row = 0; row < tile.rows; ++row)
      std::memcpy(out + row, start + row * matrix_.row_stride * kBytes, kBytes);
  }

  DType dtype_;
  Matrix matrix_;
  std::unique_ptr<std::byte[]> stored_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RowReader>> Checkpoint::OpenRows(const TensorEntry& entry) {
  const bool is_matrix = entry.shape.size() == 1 || entry.shape.size() == 2;
  if (!is_matrix || !tensor::IsWeightType(entry.dtype)) {
    return absl::UnimplementedError(fmt::format(
        "{}: tensor {}: {} {}, expected a vector or matrix of F32, F16 or BF16", entry.file->name(),
        base::Quote(entry.name), tensor::DTypeName(entry.dtype), ShapeText(entry.shape)));
  }
  const Matrix matrix = MatrixOf(entry);
  if (matrix.is_contiguous()) return std::make_unique<ContiguousRows>(entry, matrix);
  return GatheredRows::Create(entry, matrix);
}

}  // namespace codegen::checkpoint
