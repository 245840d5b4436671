// SPDX-License-Identifier: Apache-2.0
//
// Philox 4x32-10: random bits as a pure function of a counter and a key (Salmon, Moraes, Dror,
// Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Having no state, it gives a
// request the same numbers whatever runs beside it, and a GPU the same as a CPU: kernels include
// this file as it is, as constexpr functions run there too (nvcc --expt-relaxed-constexpr).
#ifndef CODEGEN_BASE_PHILOX_H_
#define CODEGEN_BASE_PHILOX_H_

#include <array>
#include <cstdint>

namespace codegen::base {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

// Returns 128 random bits: ten rounds, each multiplying two counter words and mixing the other two
// and the key into the halves of the products.
constexpr PhiloxCounter Philox4x32(PhiloxCounter counter, PhiloxKey key) {
  constexpr int kRounds = 10;
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53U;
  constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57U;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9U;  // the golden ratio
  constexpr std::uint32_t kWeyl1 = 0xBB67AE85U;  // sqrt(3) - 1

  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key = {key[0] + kWeyl0, key[1] + kWeyl1};
  }
  return counter;
}

}  // namespace codegen::base

#endif  // CODEGEN_BASE_PHILOX_H_
