// SPDX-License-Identifier: Apache-2.0
#include "cpu/rotary.h"

#include <cmath>
#include <utility>

#include "base/check.h"

namespace codegen::cpu {

absl::StatusOr<RotaryTable> RotaryTable::Make(std::int64_t positions, int rotary_dim, float base,
                                              base::ThreadPool& pool) {
  RotaryTable table;
  CODEGEN_ASSIGN_OR_RETURN(table.buffer_, base::AlignedBuffer::Make(positions * rotary_dim *
                                                                    std::int64_t{sizeof(float)}));
  table.positions_ = positions;
  table.rotary_dim_ = rotary_dim;
  table.base_ = base;
  float* turns = table.buffer_.as<float>().data();
  pool.ParallelFor(rotary_dim / 2, [=](std::int64_t pair) {
    const double frequency = std::pow(double{base}, -2.0 * static_cast<double>(pair) / rotary_dim);
    for (std::int64_t position = 0; position < positions; ++position) {
      const double angle = static_cast<double>(position) * frequency;
      turns[position * rotary_dim + 2 * pair] = static_cast<float>(std::cos(angle));
      turns[position * rotary_dim + 2 * pair + 1] = static_cast<float>(std::sin(angle));
    }
  });
  return table;
}

bool RotaryTable::Covers(const backend::Heads& heads, std::int64_t positions) const {
  return heads.rotary_dim == rotary_dim_ && heads.rotary_base == base_ && positions <= positions_;
}

void RotateHead(const float* x, const backend::Heads& heads, const float* turns, float* y,
                std::int64_t y_stride) {
  const bool interleaved = heads.rotary_pairs == backend::RotaryPairs::kInterleaved;
  const int pairs = heads.rotary_dim / 2;
  const int step = interleaved ? 2 : 1;
  const int partner = interleaved ? 1 : pairs;
  for (int i = 0; i < pairs; ++i) {
    const float cosine = turns[2 * i];
    const float sine = turns[2 * i + 1];
    const float a = x[i * step];
    const float b = x[i * step + partner];
    y[i * step * y_stride] = a * cosine - b * sine;
    y[(i * step + partner) * y_stride] = b * cosine + a * sine;
  }
  for (int i = heads.rotary_dim; i < heads.dim; ++i) y[i * y_stride] = x[i];
}

}  // namespace codegen::cpu
