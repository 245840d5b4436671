// SPDX-License-Identifier: Apache-2.0
//
// The layout of a weight matrix [outputs, inputs] in memory: panels of 16 outputs, inputs running
// down the panel, so that one line feeds 16 accumulators and a panel is read from first to last
// byte.
//
//   f32   line k:     16 floats, outputs 0..15 of input k
//   bf16  line k / 2: 16 dwords, each inputs k (low half) and k + 1 of one output
//   f16   half a line per input k: 16 halves
//
// Outputs are padded to 16, panels to kPanelGroup and bf16 inputs to 2 with zeros. A panel takes an
// odd number of lines: several panels are read side by side, and with a power of two between them
// they would fall into the same set of the L1 cache.
#ifndef CODEGEN_CPU_PACK_H_
#define CODEGEN_CPU_PACK_H_

#include <cstddef>
#include <cstdint>

#include "codegen/options.h"

namespace codegen::cpu {

// Bytes of one element; `format` is not kAuto, here and below.
std::int64_t ElementBytes(WeightFormat format);

std::int64_t PanelBytes(WeightFormat format, std::int64_t inputs);

// Packs `outputs` <= 16 rows of floats [outputs, inputs] into the zeroed panel at `panel`.
void PackPanel(const float* rows, std::int64_t outputs, std::int64_t inputs, WeightFormat format,
               std::byte* panel);

// out = floats in `format`, row-major, rounded to nearest even.
void NarrowRow(const float* floats, std::int64_t count, WeightFormat format, std::byte* out);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_PACK_H_
