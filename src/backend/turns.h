// SPDX-License-Identifier: Apache-2.0
//
// The angles of rotary position embedding (Su et al. 2021), as every device keeps them: pair i of a
// head turns by position x base^(-2i / rotary_dim), computed in double.
#ifndef CODEGEN_BACKEND_TURNS_H_
#define CODEGEN_BACKEND_TURNS_H_

#include <cmath>
#include <cstdint>

#include "backend/backend.h"

namespace codegen::backend {

// Writes cosine and sine of one pair, in [0, rotary_dim / 2), for all positions to turns
// [positions, rotary_dim]. There they lie next to each other as the pairs do: (cosine, sine) for
// kInterleaved, all cosines and then all sines for kHalves.
inline void FillTurns(const Heads& heads, std::int64_t positions, std::int64_t pair, float* turns) {
  const bool neighbours = heads.rotary_pairs == RotaryPairs::kInterleaved;
  const std::int64_t step = neighbours ? 2 : 1;
  const std::int64_t partner = neighbours ? 1 : heads.rotary_dim / 2;
  const double frequency =
      std::pow(double{heads.rotary_base}, -2.0 * static_cast<double>(pair) / heads.rotary_dim);
  float* out = turns + pair * step;
  for (std::int64_t position = 0; position < positions; ++position, out += heads.rotary_dim) {
    const double angle = static_cast<double>(position) * frequency;
    out[0] = static_cast<float>(std::cos(angle));
    out[partner] = static_cast<float>(std::sin(angle));
  }
}

// Whether two kinds of heads turn alike.
inline bool TurnAlike(const Heads& a, const Heads& b) {
  return a.rotary_dim == b.rotary_dim && a.rotary_base == b.rotary_base &&
         a.rotary_pairs == b.rotary_pairs;
}

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_TURNS_H_
