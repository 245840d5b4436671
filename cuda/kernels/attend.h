// SPDX-License-Identifier: Apache-2.0
//
// What both attention kernels take: y[t] = softmax(q[t] kT) v over the positions up to that of t,
// for the row groups of a step. Queries are rotated and scaled already, and the keys and values of
// all rows of the step in their pages (rotate_append.cuh).
#ifndef CODEGEN_CUDA_KERNELS_ATTEND_H_
#define CODEGEN_CUDA_KERNELS_ATTEND_H_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/row_group.h"

namespace codegen::cuda {

// Pointers are to memory of the device, aligned to 16 bytes.
struct AttendArgs {
  const __nv_bfloat16* q;       // [rows, heads, dim]
  const __nv_bfloat16* keys;    // [page][head][16][dim]
  const __nv_bfloat16* values;  // [page][head][16][dim]
  const std::int32_t* pages;    // page table of all sequences
  const RowGroup* groups;       // [group_capacity]
  const std::int32_t* count;    // how many groups there are
  __nv_bfloat16* y;             // [rows, heads, dim]
  int group_capacity;           // how many there can be
  int heads;
  int dim;  // a multiple of 8, at most 256
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_ATTEND_H_
