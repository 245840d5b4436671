// SPDX-License-Identifier: Apache-2.0
//
// What every file format comes down to: where one tensor lies.
#ifndef CODEGEN_CHECKPOINT_TENSOR_ENTRY_H_
#define CODEGEN_CHECKPOINT_TENSOR_ENTRY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "tensor/dtype.h"

namespace codegen::checkpoint {

// Where one tensor lies. Element (i, j, ...) is at byte `file_offset + (i * strides[0] + j *
// strides[1] + ...) * ItemBytes(dtype)` of `file`; every element has been checked to lie inside the
// file and no two of them share a byte, so that bytes() is at most the size of the file.
struct TensorEntry {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  std::vector<std::int64_t> shape;    // empty for a scalar
  std::vector<std::int64_t> strides;  // in elements, >= 0; may be transposed in torch files
  std::shared_ptr<const base::File> file;
  std::int64_t file_offset = 0;

  std::int64_t elements() const;  // product of shape
  std::int64_t bytes() const { return elements() * tensor::ItemBytes(dtype); }
};

// Returns the product of `shape` (1 for a scalar), or nothing beyond 64 bits.
// Requires: no dimension is negative.
std::optional<std::int64_t> CheckedElements(std::span<const std::int64_t> shape);

// Returns the strides of a tensor whose rows follow each other.
// Requires: CheckedElements(shape).
std::vector<std::int64_t> RowMajorStrides(std::span<const std::int64_t> shape);

// Returns "[51200, 1024]": for messages.
std::string ShapeText(std::span<const std::int64_t> shape);

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_TENSOR_ENTRY_H_
