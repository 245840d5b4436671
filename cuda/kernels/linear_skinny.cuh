// SPDX-License-Identifier: Apache-2.0
//
// y = x wT (+ bias), then store, add or gelu (linear.h), for up to 64 rows of bf16, on the matrix
// units: the decoding of as many sequences as take no more time than reading w.
//
// The weights are the left factor, whose 16 rows of a matrix unit's product they fill however few
// rows x has; the rows of x are the columns of the right one, 8 and more. ("Swap AB".)
//
//   A warp owns 32 outputs and a quarter of the inputs. Its step is a piece of 16 bytes of each of
//   4 lanes, 64 neighbouring bytes, of each output: 32 inputs of bf16, 64 of int8, 128 of int4, one
//   group. The four warps of a quartet take turns, step by step, and add their sums up in the end,
//   always in the same order.
//
//   Which input stands where within a step is free, as long as both factors agree. A lane's piece
//   of w, as it was loaded, is therefore its part of the left factor: the inputs of lane j of a row
//   are the neighbours 8 i to 8 i + 7 of its piece, 4 to each of two products. No weight goes
//   through shared memory. Of x, which does, a lane loads the same 8 inputs of a row, 16 bytes; the
//   tile is laid out so that the 16 bytes of 4 lanes are neighbours, and rows begin 64 bytes, half
//   of the banks, apart.
//
//   Codes become bf16 exactly. 128 + q is the word 0x4300 | q, for int4 minus 128; for int8 the 7
//   low bits of q minus 128 or, where its sign bit is set, 256, and that bit is the lowest of the
//   exponent already. int8 is scaled at the end. Of int4, a step is a group: scale * sum(x q) +
//   minimum * sum(x), in f32; sum(x) is one more product, by ones, for all 32 outputs: half again
//   as many products, which is what this costs.
//
//   Bytes in flight: 23 KB on each multiprocessor are needed (linear_few.cuh). A warp keeps 4 steps
//   of 2 KB on their way, 2 with more than 16 rows; registers (at most 254 a lane) leave room
//   for one block of 8 warps on a multiprocessor, 32 KB, or two to four of 4 warps, 64 KB. x comes
//   by asynchronous copies in tiles of 512 inputs, of which one is on its way while another is
//   used.
//
// Geometry: one quartet, 32 outputs, a block for up to 16 rows; two, 64 outputs, for more, as every
// block reads all of x: rows / 32 (/ 64) of the bytes of bf16 weights, twice that of int8 and four
// times of int4, from the second-level cache. 4096 outputs are 128 blocks, or 64 if there are more
// than 16 rows, which leave multiprocessors of an H200 idle; inputs are not split over blocks. More
// than 32 rows of int4, whose sums of a group take registers too, are two blocks, neighbours, so
// that the second finds w in the second-level cache.
//
// The order of additions depends on the inputs and the format only, so that a row has the same
// result, bit for bit, whatever its neighbours and their number. It is another one than that of
// linear_few.cuh.
//
// Bytes moved: w and its scales once; x once for each block, y once.
#ifndef CODEGEN_CUDA_KERNELS_LINEAR_SKINNY_CUH_
#define CODEGEN_CUDA_KERNELS_LINEAR_SKINNY_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "cuda/kernels/linear.h"

namespace codegen::cuda {

inline constexpr int kSkinnyRows = 64;

// cudaErrorInvalidValue: row_capacity is more than kSkinnyRows, or inputs no multiple of 8. W:
// __nv_bfloat16, std::int8_t, Int4Word; Y: float, __nv_bfloat16.
template <class W, class Y>
cudaError_t LinearSkinny(const LinearArgs<W, __nv_bfloat16, Y>& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_LINEAR_SKINNY_CUH_
