// SPDX-License-Identifier: Apache-2.0
//
// The instructions of AMX, for the loops of linear_amx.h and attention_amx.h and the probes of
// machine_kernels.cc. Only for x86-64.
//
// In assembly. GCC's intrinsics (12) make the number of a tile part of a string, so that no
// template can choose it; and they hide from the compiler that a load reads memory and that a
// configuration has more than 8 bytes, whose stores it then leaves out. No compiler uses tiles of
// its own accord, so nothing can come between two of these.
#ifndef CODEGEN_CPU_AMX_TILES_H_
#define CODEGEN_CPU_AMX_TILES_H_

#include <cstddef>
#include <cstdint>

#include "cpu/tile_config.h"

namespace codegen::cpu {

struct AmxTiles {
  // Of this thread, all tiles zero; until Release.
  static void Configure(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
  // The tiles need not be saved any more when the thread sleeps.
  static void Release() { asm volatile("tilerelease"); }

  template <int tile>
  static void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(tile));
  }

  // Rows of memory `stride` bytes apart.
  template <int tile>
  static void Load(const std::byte* first, std::int64_t stride) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(tile), "r"(first), "r"(stride) : "memory");
  }
  template <int tile>
  static void Store(std::byte* first, std::int64_t stride) {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)"
                 :
                 : "i"(tile), "r"(first), "r"(stride)
                 : "memory");
  }

  // c += a b, of s8 and u8 to int32.
  template <int c, int a, int b>
  static void AddInt8Product() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }
  // c += a b, of bf16 to f32.
  template <int c, int a, int b>
  static void AddBf16Product() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }
};

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_AMX_TILES_H_
