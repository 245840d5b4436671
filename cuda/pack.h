// SPDX-License-Identifier: Apache-2.0
//
// From rows of float32 to rows as they lie in the memory of a device (kernels/linear.h,
// kernels/embed.cuh).
#ifndef CODEGEN_CUDA_PACK_H_
#define CODEGEN_CUDA_PACK_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "codegen/options.h"

namespace codegen::cuda {

// How rows of a matrix lie: `elements` bytes each, one row behind the other, and apart from them
// `scales` bytes each.
struct RowLayout {
  WeightFormat format = WeightFormat::kF32;
  std::int64_t columns = 0;
  std::int64_t elements = 0;
  std::int64_t scales = 0;
};

// Of a matrix of weights: rows are filled up to a multiple of 16 bytes. Requires: not kAuto.
RowLayout WeightLayout(WeightFormat format, std::int64_t columns);

// Of an embedding: rows follow each other without a gap, and int4 is held as int8. Requires: not
// kAuto.
RowLayout EmbeddingLayout(WeightFormat format, std::int64_t columns);

// Writes one row. What fills it up is left as it is. Requires: row.size() == layout.columns.
void PackRow(const RowLayout& layout, std::span<const float> row, std::byte* elements,
             std::byte* scales);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_PACK_H_
