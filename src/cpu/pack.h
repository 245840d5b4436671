// SPDX-License-Identifier: Apache-2.0
//
// The layout of a weight matrix [outputs, inputs] in memory: panels of 16 outputs, inputs running
// down the panel, so that one line feeds 16 accumulators and a panel is read from first to last
// byte.
//
//   f32   line k:     16 floats, outputs 0..15 of input k
//   bf16  line k / 2: 16 dwords, each inputs k (low half) and k + 1 of one output
//   f16   half a line per input k: 16 halves
//   int8  line k / 4: 16 dwords, each inputs k .. k + 3 of one output, as q + 128
//   int4  per group of inputs (quant/format.h) its lines, then one line of 16 scales and 16 minima;
//         line k / 8: 16 dwords, inputs k .. k + 3 of one output in the low nibbles of its bytes,
//         k + 4 .. k + 7 in the high ones
//
// One line is what an AVX-512 dot product takes, 16 of bf16 or int8 are an AMX tile.
// Outputs are padded to 16 and panels to kPanelGroup; inputs of bf16 are padded to 32 with zeros
// (activations are zero there, but zero times infinity is not), those of int8 to 64 and of int4 to
// a group with anything. A panel takes an odd number of lines: several panels are read side by
// side, and with a power of two between them they would fall into the same set of the L1 cache.
#ifndef CODEGEN_CPU_PACK_H_
#define CODEGEN_CPU_PACK_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "codegen/options.h"
#include "quant/format.h"

namespace codegen::cpu {

inline constexpr std::int64_t kLineBytes = 64;
inline constexpr std::int64_t kInt4GroupLines = quant::kInt4Group / 8;  // and one of scales
inline constexpr std::int64_t kInt4GroupBytes = (kInt4GroupLines + 1) * kLineBytes;

// `format` is not kAuto, here and below.
std::int64_t PanelBytes(WeightFormat format, std::int64_t inputs);

// Puts the codes [kInt4Group] of one group of output `o`, and its scale, into the lines of the
// group, which are zeroed.
void PackInt4Group(const std::uint8_t* codes, quant::Int4Scale scale, std::int64_t o,
                   std::byte* group);

// The same for codes [outputs <= 16, inputs] and scales [outputs, groups], into a zeroed panel.
void PackInt4Panel(std::span<const std::uint8_t> codes, std::span<const quant::Int4Scale> scales,
                   std::int64_t inputs, std::byte* panel);

// Rows of an embedding lie one after the other, in whole lines of 16 elements; int4 becomes int8.
WeightFormat EmbeddingFormat(WeightFormat format);
std::int64_t EmbeddingRowBytes(WeightFormat format, std::int64_t columns);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_PACK_H_
