// SPDX-License-Identifier: Apache-2.0
//
// y = x wT (+ bias), then store, add or gelu (linear.h), for 1 to 8 rows: the decoding of a few
// sequences, whose time is that of reading w once.
//
// A warp owns 2 or 4 neighbouring outputs and reads their rows of w from end to end: a step, here
// called a chunk, is one piece of 16 bytes for each lane, 512 neighbouring bytes of each row. What
// comes of a piece never leaves registers: it becomes f32 numbers, which meet those of x of all
// rows. At the end 2 to 32 sums of each lane are added up over the warp.
//
//   Bytes in flight. Memory that answers after 700 ns and is to give 4.3 TB/s must be asked for 3
//   MB at any time, 23 KB on each multiprocessor. A lane keeps 8 pieces of 16 bytes on their way (2
//   outputs x 4 chunks, or 4 x 2; 16 for 2 rows): a warp 4 KB, so that six warps on a
//   multiprocessor are enough, and registers leave room for 8 to 24 (at most 80 a lane for one row,
//   128 for up to 4 and for int4, 168 for 8, 246 for 8 of int4). 4096 outputs are 1024 warps or
//   more, 4 MB. Pieces are asked for as soon as the registers of the last ones are free, before x
//   comes and across the barriers.
//
//   x lies in shared memory as f32, a tile of 32 KB at a time (8192 inputs of one row, 1024 of 8).
//   A warp reads it once for all its outputs, 4 numbers a lane and load: the tile is laid out in
//   planes, the first 4 inputs of the pieces of all 32 lanes, then the second 4, ..., so that lanes
//   lie side by side and no two meet in a bank. With 2 outputs a warp reads 2 bytes of x for one of
//   bf16 weights, with 4 and 8 rows 8 bytes: shared memory, which gives 128 bytes a cycle, keeps up
//   with the 19 bytes a cycle of weights. That is why there are more outputs where there are more
//   rows, and for int4, whose bytes hold more inputs.
//
//   Arithmetic per weight of R rows: R products, and to unpack it 1 instruction for bf16, 1 or 2
//   for f16, 2.25 for int8, 2.1 for int4. At 4.3 TB/s a cycle brings 9.6 weights of bf16, 19 of
//   int8 and 36 of int4 to a multiprocessor, which executes 128 instructions of lanes: beyond about
//   8 rows of bf16, 4 of int8 and 2 of int4 arithmetic is the limit, and the matrix units
//   (linear_skinny.cuh) are the better choice.
//
// Numbers of int4 are summed as codes, 32 inputs of one group at a time: scale * sum(x q) + minimum
// * sum(x), and sum(x) is made once by whoever puts x into shared memory. That saves one
// instruction per weight.
//
// The order of additions is fixed by the inputs and the format: a lane adds its pieces up from
// first to last, then the lanes of a warp meet in a tree. It depends neither on the number of rows
// nor on the size of a block or a tile, so that a row has the same result, bit for bit, whatever
// its neighbours and their number.
//
// Geometry: blocks of 4 warps, or 8 (of 8 rows: 6) if there are so many outputs that the device is
// full anyway: then x is brought half as often. Inputs that fill no piece or no chunk meet zeros;
// warps beyond the last output read its row once more and write nothing.
//
// Bytes moved: w and its scales once; x and y, which come from and go to the second-level cache, x
// once for each block, 1/16 to 1/2 of the bytes of w.
#ifndef CODEGEN_CUDA_KERNELS_LINEAR_FEW_CUH_
#define CODEGEN_CUDA_KERNELS_LINEAR_FEW_CUH_

#include <cuda_runtime.h>

#include "cuda/kernels/linear.h"

namespace codegen::cuda {

inline constexpr int kFewRows = 8;

// cudaErrorInvalidValue: row_capacity is more than kFewRows, or inputs no multiple of 8. W: float,
// __nv_bfloat16, __half, std::int8_t, Int4Word; X, Y: float, __nv_bfloat16.
template <class W, class X, class Y>
cudaError_t LinearFew(const LinearArgs<W, X, Y>& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_LINEAR_FEW_CUH_
