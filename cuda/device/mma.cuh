// SPDX-License-Identifier: Apache-2.0
//
// The matrix units: sum [16, 8] f32 += a [16, 16] * b [16, 8], 16-bit factors, by one warp.
//
// Who holds what, two elements of a row (of b: of a column) packed into each 32-bit word, the first
// in its low half; lane l, with r = l / 4 and c = 2 (l % 4):
//
//   a[0]: row r,     columns c, c + 1          b[0]: rows c, c + 1,          column r
//   a[1]: row r + 8, columns c, c + 1          b[1]: rows c + 8, c + 9,      column r
//   a[2]: row r,     columns c + 8, c + 9      sum[0], sum[1]: row r,     columns c, c + 1
//   a[3]: row r + 8, columns c + 8, c + 9      sum[2], sum[3]: row r + 8, columns c, c + 1
//
// Such fragments come out of shared memory by LoadMatrix: each lane gives the address of one row of
// 8 elements, lane l that of row l % 8 of matrix l / 8 (lanes beyond the last matrix give any), and
// word i of the result is the lane's part of matrix i: row r, columns c and c + 1; transposed,
// rows c and c + 1 of column r. So with rows of `tile` that are `pitch` elements apart:
//
//   a of rows m.., columns k..           LoadMatrix4(a, tile + (m + l % 16) * pitch + k + l / 16 *
//   8) b stored [n, k]: 8 columns n.., k..  LoadMatrix2(b, tile + (n + l % 8) * pitch + k + l / 8 %
//   2 * 8) b stored [k, n]: the same            LoadMatrix2Transposed(b, tile + (k + l % 16) *
//   pitch + n)
//
// Rows begin at multiples of 16 bytes; with a pitch of an odd multiple of 8 elements, 8 consecutive
// ones lie in different banks. All lanes of the warp call each function together; none of them
// orders memory.
#ifndef CODEGEN_CUDA_DEVICE_MMA_CUH_
#define CODEGEN_CUDA_DEVICE_MMA_CUH_

#include "cuda/device/thread.cuh"

#ifdef __CUDACC__

#include <cstdint>

namespace codegen::cuda {

__device__ inline unsigned SharedAddress(const void* data) {
  return static_cast<unsigned>(__cvta_generic_to_shared(data));
}

__device__ inline void LoadMatrix1(std::uint32_t (&fragment)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
               : "=r"(fragment[0])
               : "r"(SharedAddress(row))
               : "memory");
}

__device__ inline void LoadMatrix2(std::uint32_t (&fragment)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(fragment[0]), "=r"(fragment[1])
               : "r"(SharedAddress(row))
               : "memory");
}

__device__ inline void LoadMatrix4(std::uint32_t (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(SharedAddress(row))
               : "memory");
}

__device__ inline void LoadMatrix1Transposed(std::uint32_t (&fragment)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
               : "=r"(fragment[0])
               : "r"(SharedAddress(row))
               : "memory");
}

__device__ inline void LoadMatrix2Transposed(std::uint32_t (&fragment)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(fragment[0]), "=r"(fragment[1])
               : "r"(SharedAddress(row))
               : "memory");
}

__device__ inline void LoadMatrix4Transposed(std::uint32_t (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(SharedAddress(row))
               : "memory");
}

__device__ inline void MultiplyBf16(float (&sum)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void MultiplyF16(float (&sum)[4], const std::uint32_t (&a)[4],
                                   const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace codegen::cuda

#else
#include <support/simt/matrix.h>
#endif

#endif  // CODEGEN_CUDA_DEVICE_MMA_CUH_
