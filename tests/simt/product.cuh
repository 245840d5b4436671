// SPDX-License-Identifier: Apache-2.0
//
// A demonstration of asynchronous copies and matrix units: c [m, n] f32 = a [m, k] * b [n, k]^T,
// both bf16.
//
// A block of 4 warps owns a tile of 64 x 64, each warp 16 rows of it. The factors come 32 columns
// at a time into one of two stages of dynamic shared memory; while the warps multiply one stage,
// the copies into the other go on. Of m only what exists is read and written; n is a multiple of 64
// and k of 32. Each block reads 2 k (64 + 64) bytes and multiplies 64 * 64 * k times.
//
// There to test the emulator, not to be fast; it can be planted with mistakes.
#ifndef CODEGEN_TESTS_SIMT_PRODUCT_CUH_
#define CODEGEN_TESTS_SIMT_PRODUCT_CUH_

#include <cstddef>
#include <cstdint>

#include "cuda/device/copy.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/device/thread.cuh"
#include "simt/plant.h"

namespace codegen::cuda {

inline constexpr int kTile = 64;           // rows of a and of b in a block
inline constexpr int kDepth = 32;          // columns of both in a stage
inline constexpr int kPitch = kDepth + 8;  // an odd multiple of 8: no two rows in the same banks
inline constexpr int kProductThreads = 128;
inline constexpr std::size_t kProductShared = 2 * 2 * kTile * kPitch * sizeof(__nv_bfloat16);

struct ProductArgs {
  float* c;
  const __nv_bfloat16* a;
  const __nv_bfloat16* b;
  int m;
  int n;
  int k;
};

// The two factors of one stage.
struct Stage {
  __nv_bfloat16* a;
  __nv_bfloat16* b;
};

__device__ inline Stage StageOf(int step) {
  __nv_bfloat16* const shared = DynamicShared<__nv_bfloat16>() + step % 2 * 2 * kTile * kPitch;
  return {shared, shared + kTile * kPitch};
}

// Begins to copy rows [row, row + kTile) and columns [column, column + kDepth) of x [rows, k].
__device__ inline void CopyTile(__nv_bfloat16* tile, const __nv_bfloat16* x, int row, int rows,
                                int column, int k) {
  constexpr int kPieces = kDepth / 8;
  for (int i = Thread(); i < kTile * kPieces; i += kProductThreads) {
    const int r = i / kPieces;
    const int c = i % kPieces * 8;
    const bool exists = row + r < rows;
    const __nv_bfloat16* from = x + static_cast<std::ptrdiff_t>(exists ? row + r : 0) * k;
    CopyAsync16(tile + r * kPitch + c, from + column + c, exists);
  }
}

__device__ inline void CopyStage(const ProductArgs& args, int step) {
  const Stage stage = StageOf(step);
  CopyTile(stage.a, args.a, static_cast<int>(blockIdx.y) * kTile, args.m, step * kDepth, args.k);
  CopyTile(stage.b, args.b, static_cast<int>(blockIdx.x) * kTile, args.n, step * kDepth, args.k);
  CommitCopies();
}

// sum [16, 64], the warp's rows, += what one stage holds.
__device__ inline void MultiplyStage(float (&sum)[8][4], const Stage& stage) {
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    std::uint32_t a[4];
    LoadMatrix4(a, stage.a + (Warp() * 16 + Lane() % 16) * kPitch + k + Lane() / 16 * 8);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      std::uint32_t b[2];
      LoadMatrix2(b, stage.b + (n * 8 + Lane() % 8) * kPitch + k + Lane() / 8 % 2 * 8);
      MultiplyBf16(sum[n], a, b);
    }
  }
}

__device__ inline void StoreSum(const ProductArgs& args, const float (&sum)[8][4]) {
  const int row = static_cast<int>(blockIdx.y) * kTile + Warp() * 16 + Lane() / 4;
  const int column = static_cast<int>(blockIdx.x) * kTile + Lane() % 4 * 2;
#pragma unroll
  for (int i = 0; i < 32; ++i) {
    const int r = row + i / 2 % 2 * 8;
    const int c = column + i / 4 * 8 + i % 2;
    if (r < args.m) args.c[static_cast<std::ptrdiff_t>(r) * args.n + c] = sum[i / 4][i % 4];
  }
}

template <Plant kPlant>
__global__ void __launch_bounds__(kProductThreads) ProductKernel(ProductArgs args) {
  float sum[8][4] = {};
  const int steps = args.k / kDepth;
  CopyStage(args, 0);
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) {
      CopyStage(args, step + 1);
    } else {
      CommitCopies();  // nothing, so that the stage to wait for is always the last but one
    }
    if constexpr (kPlant != Plant::kNoWait) WaitCopies<1>();
    __syncthreads();
    MultiplyStage(sum, StageOf(step));
    if constexpr (kPlant != Plant::kNoBarrierAtLoopEnd) __syncthreads();
  }
  StoreSum(args, sum);
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_SIMT_PRODUCT_CUH_
