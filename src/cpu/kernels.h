// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of the CPU backend as plain functions, each compiled for every instruction set
// and dispatched at run time (Highway). They run on one thread over the part they are given;
// CpuBackend splits the work.
//
// Contract of all of them: memory is float32 and 64-byte aligned; a row of an activation is padded
// to whole lines of 16 floats that may be read and written (kLine below), its stride is a multiple
// of 16. What is computed for one element depends on its inputs alone, in an order fixed per
// formula: never on the other rows, the split, or the kernel chosen for a number of rows.
#ifndef CODEGEN_CPU_KERNELS_H_
#define CODEGEN_CPU_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "backend/backend.h"
#include "codegen/options.h"

namespace codegen::cpu {

inline constexpr std::int64_t kLine = 16;       // floats in 64 bytes; outputs in a panel
inline constexpr std::int64_t kPanelGroup = 2;  // panels that a kernel may take at least

constexpr std::int64_t RoundUpToLine(std::int64_t floats) {
  return (floats + kLine - 1) / kLine * kLine;
}

// Name of the instruction set that the kernels are dispatched to, in Highway's words: "AVX3" (is
// AVX-512), "AVX2", "SSE4", "EMU128" (portable), "NEON".
std::string IsaName();

// --- linear-inl.h: y = x wT + bias over panels of 16 outputs ------------------------------------

struct LinearArgs {
  const float* x = nullptr;  // [rows, inputs], stride x_stride
  std::int64_t x_stride = 0;
  const std::byte* panels = nullptr;  // packed as in pack.h, panel_bytes apart
  std::int64_t panel_bytes = 0;
  std::int64_t panel_count = 0;  // without the padding to kPanelGroup
  const float* bias = nullptr;   // [outputs], padded
  float* y = nullptr;            // [rows, outputs], stride y_stride
  std::int64_t y_stride = 0;
  std::int64_t inputs = 0;
  backend::Then then = backend::Then::kStore;
};

// The part of y that one call computes: panels [first_panel, last_panel), beginning at a multiple
// of kPanelGroup and ending at one or with the matrix, of rows [first_row, last_row), at most
// kSlabRows.
struct LinearBlock {
  std::int64_t first_panel = 0;
  std::int64_t last_panel = 0;
  std::int64_t first_row = 0;
  std::int64_t last_row = 0;
};

inline constexpr std::int64_t kSlabRows = 240;  // activations that one pass over a panel serves

using LinearKernel = void (*)(const LinearArgs& args, const LinearBlock& block);
LinearKernel LinearF32Kernel();
LinearKernel LinearBf16Kernel();
LinearKernel LinearF16Kernel();

// --- attention.cc
// ---------------------------------------------------------------------------------

// One query block of one head: rows of one sequence whose positions follow each other.
struct AttendArgs {
  const float* q = nullptr;  // [rows, dim] rotated, stride q_stride
  std::int64_t q_stride = 0;
  const float* keys = nullptr;    // of this head in page 0: [dim][kPageTokens]
  const float* values = nullptr;  // of this head in page 0: [kPageTokens][dim]
  std::int64_t page_stride = 0;   // floats from one page to the next
  const std::int32_t* pages = nullptr;
  std::int64_t first_position = 0;
  std::int64_t rows = 0;  // <= kAttendRows
  std::int64_t dim = 0;
  float* scratch = nullptr;  // [kAttendRows, RoundUpToLine(dim)]
  float* y = nullptr;        // [rows, dim], stride y_stride; may be q
  std::int64_t y_stride = 0;
};

inline constexpr std::int64_t kAttendRows = 12;

// y = softmax(q kT / sqrt(dim)) v over the positions up to each row's own.
void AttendBlock(const AttendArgs& args);

// --- norm.cc
// ----------------------------------------------------------------------------------------

struct NormArgs {
  const float* x = nullptr;     // [columns], padded
  const float* gain = nullptr;  // [columns], padded
  const float* bias = nullptr;  // [columns], padded; LayerNorm only
  std::int64_t columns = 0;
  float epsilon = 0;
  float* y = nullptr;  // [columns], padded; may be x
};

void LayerNormRow(const NormArgs& args);
void RmsNormRow(const NormArgs& args);

// --- elementwise.cc: whole lines, so `count` floats rounded up
// --------------------------------------

// y[f] = silu(gate[f]) up[f]. `up` need not be aligned.
void SwiGluRow(const float* gate, const float* up, std::int64_t count, float* y);
// y += x.
void AddRow(const float* x, std::int64_t count, float* y);

// y = x exactly, from the elements of an embedding row (padded to whole lines).
void WidenRow(const std::byte* x, WeightFormat format, std::int64_t count, float* y);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_KERNELS_H_
