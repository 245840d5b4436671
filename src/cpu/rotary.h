// SPDX-License-Identifier: Apache-2.0
//
// Rotary position embedding (Su et al. 2021): pair i of a head turns by the angle position x
// base^(-2i / rotary_dim). Sines and cosines are computed once, in double, for every position that
// a cache can hold, and shared by its layers.
#ifndef CODEGEN_CPU_ROTARY_H_
#define CODEGEN_CPU_ROTARY_H_

#include <absl/status/statusor.h>

#include <cstdint>

#include "backend/backend.h"
#include "base/aligned_buffer.h"
#include "base/thread_pool.h"

namespace codegen::cpu {

class RotaryTable {
 public:
  // RESOURCE_EXHAUSTED: memory.
  static absl::StatusOr<RotaryTable> Make(std::int64_t positions, const backend::Heads& heads,
                                          base::ThreadPool& pool);

  // Whether it serves `heads` at positions [0, positions).
  bool Covers(const backend::Heads& heads, std::int64_t positions) const;

  // Cosines and sines of rotary_dim / 2 pairs, next to each other as the pairs are: (cosine, sine)
  // for kInterleaved, all cosines and then all sines for kHalves.
  const float* at(std::int64_t position) const {
    return buffer_.as<float>().data() + position * heads_.rotary_dim;
  }

 private:
  base::AlignedBuffer buffer_;  // [positions, rotary_dim]
  std::int64_t positions_ = 0;
  backend::Heads heads_;  // whose turns they are, but for count and dim
};

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_ROTARY_H_
