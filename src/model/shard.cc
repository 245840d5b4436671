// SPDX-License-Identifier: Apache-2.0
#include "model/shard.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"

namespace codegen::model {
namespace {

using backend::MatrixSource;

// Part of the rows of a line of 64 bytes would be shared by two ranks.
constexpr std::int64_t kHeadLine = 16;

}  // namespace

absl::Status CheckShards(const ModelConfig& config, int count) {
  const int most = std::gcd(config.heads.count, config.inner);
  if (count >= 1 && most % count == 0) return absl::OkStatus();
  std::vector<int> legal;
  for (int i = 1; i <= most; ++i) {
    if (most % i == 0) legal.push_back(i);
  }
  return absl::InvalidArgumentError(
      fmt::format("LoadOptions::parallel.tensor is {}, must divide the {} heads and the {} inner "
                  "features of a block: {}",
                  count, config.heads.count, config.inner, fmt::join(legal, ", ")));
}

ModelConfig ShardOf(ModelConfig config, int count) {
  config.heads.count /= count;
  config.inner /= count;
  return config;
}

std::int64_t HeadRows(const ModelConfig& config, int count) {
  if (count == 1) return config.vocabulary;
  const std::int64_t lines = (config.vocabulary + kHeadLine - 1) / kHeadLine;
  return (lines + count - 1) / count * kHeadLine;
}

MatrixSource RowsOf(MatrixSource source, std::int64_t first, std::int64_t count) {
  if (first == 0 && count == source.rows) return source;
  const std::int64_t stored = std::clamp<std::int64_t>(source.rows - first, 0, count);
  const std::int64_t columns = source.columns;
  source.rows = count;
  return std::move(source).Wrapped([=]<class Element>(backend::ReadRows<Element> read) {
    return [=, read = std::move(read)](std::int64_t row, std::int64_t rows,
                                       std::span<Element> out) -> absl::Status {
      const std::int64_t real = std::clamp<std::int64_t>(stored - row, 0, rows);
      const auto elements = static_cast<std::size_t>(real * columns);
      if (real > 0) CODEGEN_RETURN_IF_ERROR(read(first + row, real, out.first(elements)));
      std::ranges::fill(out.subspan(elements), Element{});
      return absl::OkStatus();
    };
  });
}

MatrixSource ColumnsOf(MatrixSource source, std::int64_t first, std::int64_t count) {
  CODEGEN_DCHECK(first >= 0 && first + count <= source.columns);
  if (count == source.columns) return source;
  const std::int64_t columns = source.columns;
  source.columns = count;
  return std::move(source).Wrapped([=]<class Element>(backend::ReadRows<Element> read) {
    return [=, read = std::move(read)](std::int64_t row, std::int64_t rows,
                                       std::span<Element> out) -> absl::Status {
      std::vector<Element> whole(static_cast<std::size_t>(rows * columns));
      CODEGEN_RETURN_IF_ERROR(read(row, rows, whole));
      for (std::int64_t t = 0; t < rows; ++t)
        std::copy_n(whole.begin() + t * columns + first, count, out.begin() + t * count);
      return absl::OkStatus();
    };
  });
}

}  // namespace codegen::model
