// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of the CPU backend as plain functions, one table of them per instruction set.
// They run on one thread over the part they are given; CpuBackend splits the work.
//
// Contract of all of them: memory is float32 (but for weights, pages and narrowed rows) and 64-byte
// aligned; a row of an activation is padded to whole lines of 16 floats that may be read and
// written (kLine below), its stride is a multiple of 16. What is computed for one element depends
// on its inputs alone, in an order fixed per formula and level: never on the other rows, the split,
// or the tile chosen for a number of rows.
#ifndef CODEGEN_CPU_KERNELS_H_
#define CODEGEN_CPU_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "backend/backend.h"
#include "codegen/options.h"
#include "cpu/linear.h"

namespace codegen::cpu {

constexpr std::int64_t RoundUpToLine(std::int64_t floats) {
  return (floats + kLine - 1) / kLine * kLine;
}

// --- attention.cc, attention_dot.cc, rotary.cc ---------------------------------------------------

inline constexpr std::int64_t kAttendRows = 32;

// A page of one head. f32: keys [dim][16 positions], values [16 positions][dim, padded to lines].
// bf16: two dims of a key and two positions of a value lie side by side, keys [dim / 2][16
// positions][2] and values [8][dim, padded to lines][2 positions]. So a line holds for 16 positions
// (dims) what one lane multiplies, and 16 lines are a tile of AMX.

// One query block of one head: rows of one sequence whose positions follow each other.
struct AttendArgs {
  float* q = nullptr;  // [rows, dim] rotated, rows padded to lines; is overwritten
  // Of this head in page 0.
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  std::int64_t page_bytes = 0;  // from one page to the next
  const std::int32_t* pages = nullptr;
  std::int64_t first_position = 0;
  std::int64_t rows = 0;  // <= kAttendRows
  std::int64_t dim = 0;
  float* o = nullptr;  // scratch [rows, dim], rows padded to lines
  float* y = nullptr;  // [rows, dim], stride y_stride
  std::int64_t y_stride = 0;
};

// What can be done with a cache of one element type.
struct KvKernels {
  // A key [dim] f32, padded to lines, into slot `slot` of its page.
  void (*append_key)(const float* key, std::int64_t dim, std::int64_t slot,
                     std::byte* page) = nullptr;
  // A value [dim] f32, of which a last line may be read in full, in whole lines. In bf16 this
  // writes the slot beside it (slot ^ 1) again: one thread appends both.
  void (*append_value)(const float* value, std::int64_t dim, std::int64_t slot,
                       std::byte* page) = nullptr;
  // y = softmax(q kT / sqrt(dim)) v over the positions up to each row's own.
  void (*attend)(const AttendArgs& args) = nullptr;
  std::int64_t attend_rows = 24;  // that attend takes at most, two tiles of 12; <= kAttendRows
};

// --- norm.cc ------------------------------------------------------------------------------------

struct NormArgs {
  const float* x = nullptr;     // [columns], padded
  const float* gain = nullptr;  // [columns], padded
  const float* bias = nullptr;  // [columns], padded; LayerNorm only
  std::int64_t columns = 0;
  float epsilon = 0;
  float* y = nullptr;  // [columns], padded; may be x
};

// --- pack_rows.cc -------------------------------------------------------------------------------

// Rows of weights [count, columns], unaligned: f32, or the bits of f16 or bf16, as `stored` says.
struct WeightRows {
  const void* data = nullptr;
  WeightFormat stored = WeightFormat::kF32;
  std::int64_t count = 0;
  std::int64_t columns = 0;
};

// --- the table ----------------------------------------------------------------------------------

// What can be done to a row at a time works on whole lines: `count` floats, rounded up.
struct Kernels {
  CpuFeatures level = CpuFeatures::kPortable;

  // y = x wT + bias, by what the weights are and in which precision (linear.h).
  LinearKernel linear_f32, linear_f16, linear_bf16, linear_int8, linear_int4;  // kExact
  LinearKernel linear_bf16_fast, linear_int8_fast, linear_int4_fast;  // kFast where it differs

  // Narrows a row of activations [columns] for the products of kFast (linear.h).
  void (*narrow_to_bf16)(const float* x, std::int64_t columns, const NarrowRow& row) = nullptr;
  void (*narrow_to_int8)(const float* x, std::int64_t columns, const NarrowRow& row) = nullptr;

  // Keys and values held as f32 or bf16; bf16 ones multiplied exactly, or as kFast may.
  KvKernels kv_f32, kv_bf16, kv_bf16_fast;
  // y = a query or key x [dim] turned by `turns` = RotaryTable::at(its position); y is aligned.
  void (*rotate)(const float* x, const backend::Heads& heads, const float* turns,
                 float* y) = nullptr;

  void (*layer_norm)(const NormArgs& args) = nullptr;
  void (*rms_norm)(const NormArgs& args) = nullptr;

  // y[f] = silu(gate[f]) up[f]. `up` need not be aligned.
  void (*swiglu)(const float* gate, const float* up, std::int64_t count, float* y) = nullptr;
  // y += x.
  void (*add)(const float* x, std::int64_t count, float* y) = nullptr;

  // Weights into memory: up to 16 rows into the zeroed panel at `panel` (pack.h), the scales of
  // int8 rows to `scales` [16], which other formats leave alone.
  void (*pack_panel)(const WeightRows& rows, WeightFormat format, std::byte* panel,
                     float* scales) = nullptr;
  // Each row in EmbeddingFormat(format), padded to whole lines, EmbeddingRowBytes apart in the
  // zeroed memory at `out`; to `scales` [count] those of int8 rows, else ones.
  void (*pack_embedding)(const WeightRows& rows, WeightFormat format, std::byte* out,
                         float* scales) = nullptr;

  // y = the exact values of an embedding row (padded to whole lines).
  void (*widen_f32)(const std::byte* x, std::int64_t count, float* y) = nullptr;
  void (*widen_bf16)(const std::byte* x, std::int64_t count, float* y) = nullptr;
  void (*widen_f16)(const std::byte* x, std::int64_t count, float* y) = nullptr;
  void (*widen_int8)(const std::byte* x, float scale, std::int64_t count, float* y) = nullptr;
};

// The kernels of a level that ChooseLevel (isa.h) grants on this machine.
const Kernels& KernelsOf(CpuFeatures level);

// Each file of kernels enters its own, for kernels.level.
void AddLinearF32(Kernels& kernels);
void AddLinearF16(Kernels& kernels);
void AddLinearBf16(Kernels& kernels);
void AddLinearInt8(Kernels& kernels);
void AddLinearInt4(Kernels& kernels);
void AddLinearDot(Kernels& kernels);  // from kAvx512Vnni on; replaces some of the above
void AddLinearAmx(Kernels& kernels);  // at kAmx; replaces some of the above
void AddNarrow(Kernels& kernels);
void AddRotary(Kernels& kernels);
void AddAttention(Kernels& kernels);
void AddAttentionDot(Kernels& kernels);  // from kAvx512Bf16 on; replaces what AddAttention did
void AddNorm(Kernels& kernels);
void AddElementwise(Kernels& kernels);
void AddPacking(Kernels& kernels);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_KERNELS_H_
