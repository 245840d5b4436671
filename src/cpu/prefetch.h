// SPDX-License-Identifier: Apache-2.0
//
// Weights that come from memory are asked for before they are multiplied: a page ahead into the L2
// cache, and where few panels are read side by side also shortly ahead into L1.
//
// Measured on two threads of a Zen 4 (2026-11-23, 1024 x 3072, interleaved medians, GB/s):
//
//   rows x panels                  1 x 8  4 x 4  8 x 2  16 x 1
//   bf16, not at all                30.3   29.7   23.1    12.6
//         2 KB ahead into L1        23.7   23.7   21.1    16.8
//         4 KB ahead into L2        32.0   31.7   30.3    18.3
//         and 1 KB ahead into L1    27.5   29.8   29.6    20.0
//   int8, not at all                29.7   27.8   20.9    11.3
//         2 KB ahead into L1        24.2   22.1   19.4    17.0
//         4 KB ahead into L2        30.1   29.0   25.4    16.8
//         and 1 KB ahead into L1    27.4   26.8   27.7    17.8
#ifndef CODEGEN_CPU_PREFETCH_H_
#define CODEGEN_CPU_PREFETCH_H_

#include <cstddef>

namespace codegen::cpu {

// `line`: what is multiplied now of one of kStreams panels.
template <int kStreams>
[[gnu::always_inline]] inline void PrefetchWeights(const std::byte* line) {
  __builtin_prefetch(line + 4096, 0, 2);
  if constexpr (kStreams <= 2) __builtin_prefetch(line + 1024, 0, 3);
}

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_PREFETCH_H_
