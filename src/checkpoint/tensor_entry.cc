// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/tensor_entry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>

#include "base/check.h"
#include "base/checked_math.h"

namespace codegen::checkpoint {

std::int64_t TensorEntry::elements() const { return CheckedElements(shape).value_or(0); }

std::optional<std::int64_t> CheckedElements(std::span<const std::int64_t> shape) {
  // An empty tensor is empty however large its other dimensions are.
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  std::optional<std::int64_t> elements = 1;
  for (const std::int64_t size : shape) {
    elements = base::CheckedMul(*elements, size);
    if (!elements) return std::nullopt;
  }
  return elements;
}

std::vector<std::int64_t> RowMajorStrides(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> strides(shape.size(), 0);
  if (CheckedElements(shape) == 0) return strides;
  std::int64_t stride = 1;
  for (std::size_t i = shape.size(); i-- > 0; stride *= shape[i]) strides[i] = stride;
  return strides;
}

std::string ShapeText(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace codegen::checkpoint
