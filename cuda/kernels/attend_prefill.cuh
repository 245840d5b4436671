// SPDX-License-Identifier: Apache-2.0
//
// Attention of prompts: y[t] = softmax(q[t] kT) v over the positions up to that of t, for groups of
// up to 64 rows that continue a sequence at any position (after FlashAttention-2, Dao 2023).
//
// Shapes as in attend.h. A block of 4 warps owns a group and a head, a warp 16 rows of it
// (attend_tile.cuh). Keys and values come 64 positions at a time (32 for heads wider than 128) into
// one of two stages of shared memory, and while the warps compute on one the copies into the other
// go on. Tiles begin at multiples of their size, whatever the group, and a row takes them in
// ascending order: its result depends on its own query and history only, not on the rows of its
// group nor on how a prompt was cut into chunks.
//
// Bytes moved per group and head, all in bf16: 4 dim per position up to its last (from L2 where
// other groups of the sequence read them too), and 4 dim per row. Products: 4 dim per row and
// position, half of those of the last tile in vain.
//
// Shared memory, 2 blocks per multiprocessor of an H100: 85 KiB for heads of 128, 99 KiB for 256.
#ifndef CODEGEN_CUDA_KERNELS_ATTEND_PREFILL_CUH_
#define CODEGEN_CUDA_KERNELS_ATTEND_PREFILL_CUH_

#include <cuda_runtime.h>

#include "cuda/kernels/attend.h"

namespace codegen::cuda {

// For groups of up to kPrefillRows rows. cudaErrorInvalidValue: dim is no multiple of 8, or above
// 256.
cudaError_t AttendPrefill(const AttendArgs& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_ATTEND_PREFILL_CUH_
