// SPDX-License-Identifier: Apache-2.0
//
// LayerNorm: y = gain (x - mean) / sqrt(variance + epsilon) + bias, and RmsNorm: y = gain x /
// sqrt(mean square + epsilon), over each row.
//
//   x [rows, columns] f32; gain, bias [columns] f32; y [rows, columns] f32 or bf16
//
// A block of up to 256 threads owns a row, and keeps it in shared memory: x is read once, and the
// variance taken around the mean in a second pass, so that a large mean cancels nothing. A thread
// owns every 256th piece of 4 elements (of 1 where the columns are no multiple of 4), and reads
// back only what it wrote itself; threads meet in the sums alone. Each sum is columns / 256
// additions in a thread and a tree over the threads, the same whatever the other rows hold. Rows at
// or beyond *rows do nothing.
//
// Bytes moved per row: 4 columns read and sizeof(y) columns written; gain and bias, read by all
// rows, come from the second-level cache.
#ifndef CODEGEN_CUDA_KERNELS_NORM_CUH_
#define CODEGEN_CUDA_KERNELS_NORM_CUH_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace codegen::cuda {

// Pointers are to memory of the device, aligned to 16 bytes.
template <class Y>
struct RmsNormArgs {
  const float* x;
  const float* gain;
  Y* y;
  const std::int32_t* rows;  // how many there are
  int row_capacity;          // how many there can be
  int columns;
  float epsilon;
};

template <class Y>
struct LayerNormArgs {
  RmsNormArgs<Y> norm;
  const float* bias;
};

// cudaErrorInvalidValue: a row is larger than shared memory (58,112 columns on Hopper). Y: float,
// __nv_bfloat16.
template <class Y>
cudaError_t LayerNorm(const LayerNormArgs<Y>& args, cudaStream_t stream);
template <class Y>
cudaError_t RmsNorm(const RmsNormArgs<Y>& args, cudaStream_t stream);

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_NORM_CUH_
