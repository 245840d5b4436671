// SPDX-License-Identifier: Apache-2.0
//
// Row groups: rows of one sequence that attend together, and share what they read of its keys and
// values.
//
// The host splits the rows of a step into two lists, for the two attention kernels: a sequence with
// up to kDecodeRows rows (a decode, or some tokens guessed ahead) is one group of attend_decode;
// one with more (a chunk of a prompt) is groups of up to kPrefillRows of attend_prefill. A group
// says all that a kernel has to know of the batch, so that no thread searches for its sequence.
#ifndef CODEGEN_CUDA_KERNELS_ROW_GROUP_H_
#define CODEGEN_CUDA_KERNELS_ROW_GROUP_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend/rows.h"

namespace codegen::cuda {

inline constexpr int kDecodeRows = 8;
inline constexpr int kPrefillRows = 64;

// Rows [row, row + rows) of the step, at positions from `position` on; the page of position p is
// entry first_page + p / kPageTokens of the page table.
struct alignas(16) RowGroup {
  std::int32_t row;
  std::int32_t rows;
  std::int32_t position;
  std::int32_t first_page;
};

// Where a row's key and value go: the page and the place in it, as one number.
inline std::int32_t CacheSlot(const RowGroup& group, const std::int32_t* pages, int row) {
  const std::int32_t position = group.position + row - group.row;
  return pages[group.first_page + position / backend::kPageTokens] * backend::kPageTokens +
         position % backend::kPageTokens;
}

// Calls decode(group) or prefill(group) for all groups of a step, in the order of rows; sequences
// of up to `decode_rows` rows are decodes.
template <class Decode, class Prefill>
void ForEachRowGroup(const backend::Rows& rows, const Decode& decode, const Prefill& prefill,
                     int decode_rows = kDecodeRows) {
  for (std::size_t s = 0; s + 1 < rows.first_row.size(); ++s) {
    const std::int32_t first = rows.first_row[s];
    const std::int32_t end = rows.first_row[s + 1];
    const auto group = [&](std::int32_t row, int most) {
      return RowGroup{row, std::min(most, end - row), rows.positions[static_cast<std::size_t>(row)],
                      rows.first_page[s]};
    };
    if (first < end && end - first <= decode_rows) {
      decode(group(first, kDecodeRows));
    } else {
      for (std::int32_t row = first; row < end; row += kPrefillRows)
        prefill(group(row, kPrefillRows));
    }
  }
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_ROW_GROUP_H_
