// SPDX-License-Identifier: Apache-2.0
#include "cpu/linear_amx.h"

#include "cpu/kernels.h"

#if defined(__x86_64__)

#include "cpu/amx_tiles.h"

namespace codegen::cpu {

void AddLinearAmx(Kernels& kernels) {
  if (kernels.level < CpuFeatures::kAmx) return;
  AmxLinear<AmxTiles, Activations::kInt8>::Take(kernels.linear_int8_fast, 5);
  AmxLinear<AmxTiles, Activations::kBf16>::Take(kernels.linear_bf16_fast, 1);
}

}  // namespace codegen::cpu

#else

namespace codegen::cpu {
void AddLinearAmx(Kernels&) {}
}  // namespace codegen::cpu

#endif
