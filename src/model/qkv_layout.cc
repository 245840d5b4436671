// SPDX-License-Identifier: Apache-2.0
#include "model/qkv_layout.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace codegen::model {

std::int64_t StoredQkvRow(std::int64_t row, const backend::Heads& heads, int groups) {
  constexpr std::int64_t kStoredKind[] = {0, 2, 1};  // of query, key, value
  const std::int64_t width = std::int64_t{heads.count} * heads.dim;
  const std::int64_t group_heads = heads.count / groups;
  const std::int64_t group_rows = group_heads * heads.dim;
  const std::int64_t kind = kStoredKind[row / width];
  const std::int64_t head = row % width / heads.dim;
  return head / group_heads * 3 * group_rows + kind * group_rows + head % group_heads * heads.dim +
         row % heads.dim;
}

backend::MatrixSource UngroupedQkv(backend::MatrixSource stored, const backend::Heads& heads,
                                   int groups) {
  const std::int64_t columns = stored.columns;
  return std::move(stored).Wrapped([&]<class Element>(backend::ReadRows<Element> stored_rows) {
    return [heads, groups, columns, inner = std::move(stored_rows)](
               std::int64_t first, std::int64_t count, std::span<Element> out) -> absl::Status {
      // The rows of one head stay together, so whole runs of them are read at once.
      for (std::int64_t row = first, next; row < first + count; row = next) {
        next = std::min(first + count, (row / heads.dim + 1) * heads.dim);
        CODEGEN_RETURN_IF_ERROR(
            inner(StoredQkvRow(row, heads, groups), next - row,
                  out.subspan(static_cast<std::size_t>((row - first) * columns),
                              static_cast<std::size_t>((next - row) * columns))));
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace codegen::model
