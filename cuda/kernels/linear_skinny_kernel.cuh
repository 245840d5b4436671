// SPDX-License-Identifier: Apache-2.0
//
// The kernel of linear_skinny.cuh, for the files that instantiate it: one for each format of
// weights.
#ifndef CODEGEN_CUDA_KERNELS_LINEAR_SKINNY_KERNEL_CUH_
#define CODEGEN_CUDA_KERNELS_LINEAR_SKINNY_KERNEL_CUH_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/device/copy.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/linear_finish.cuh"
#include "cuda/kernels/linear_piece.cuh"
#include "cuda/kernels/linear_skinny.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace skinny {

inline constexpr int kQuartet = 4;  // warps that share outputs
inline constexpr int kWarpOutputs = 32;
inline constexpr int kTileInputs = 512;
inline constexpr int kTileUnits = kTileInputs / 8;  // of 16 bytes, of a row
inline constexpr int kPitch = kTileInputs + 32;     // numbers from row to row
inline constexpr int kStages = 2;

template <class W, int kRows>
struct Shape {
  static constexpr int kQuartets = kRows <= 16 ? 1 : 2;
  static constexpr int kOutputs = kQuartets * kWarpOutputs;  // of a block
  static constexpr int kThreads = kQuartets * kQuartet * kWarpLanes;
  static constexpr int kDepth = kRows <= 16 ? 4 : 2;  // steps on their way
  static constexpr int kColumns = kRows / 8;          // of 8 rows of x
  static constexpr int kUnits = kPieceInputs<W> / 8;  // of 8 inputs, of a piece
  static constexpr int kTileRounds = kTileUnits / (kQuartet * 4 * kUnits);  // steps of each warp
  static constexpr int kTile = kRows * kPitch;
  static constexpr int kSumPitch = kRows + 1;
  static constexpr std::size_t kTileBytes = kStages * kTile * sizeof(__nv_bfloat16);
  static constexpr std::size_t kSumBytes = kQuartet * kOutputs * kSumPitch * sizeof(float);
  static constexpr std::size_t kSharedBytes = std::max(kTileBytes, kSumBytes);
};

// Inputs 2 i and 2 i + 1 of a piece, or their codes, as bf16.
template <class W>
__device__ inline std::uint32_t UnpackPair(const WeightPiece<W>& piece, int i) {
  if constexpr (std::is_same_v<W, __nv_bfloat16>) {
    return piece[i];
  } else {
    constexpr std::uint32_t k128 = 0x43004300;
    std::uint32_t low;
    std::uint32_t from = k128;
    if constexpr (kIsInt4<W>) {
      low = (piece[i / 4] >> (i % 4 * 4)) & 0x000F000FU;
    } else {
      const std::uint32_t bytes = __byte_perm(piece[i / 2], 0, i % 2 == 0 ? 0x4140 : 0x4342);
      low = bytes & 0x007F007FU;
      from |= bytes & 0x00800080U;
    }
    low |= k128;
    __nv_bfloat162 pairs[2];
    memcpy(static_cast<void*>(&pairs[0]), &low, sizeof low);
    memcpy(static_cast<void*>(&pairs[1]), &from, sizeof from);
    const __nv_bfloat162 codes = __hsub2(pairs[0], pairs[1]);
    std::uint32_t word;
    memcpy(&word, &codes, sizeof word);
    return word;
  }
}

// Begins to copy a tile of x: [row][step][unit][lane j][8 inputs], zero where there is no input or
// no row.
template <class W, int kRows, class Args>
__device__ void BringTile(const Args& args, int rows, int index, __nv_bfloat16* tile) {
  constexpr int kUnits = Shape<W, kRows>::kUnits;
#pragma unroll 4
  for (int i = Thread(); i < kRows * kTileUnits; i += Threads()) {
    const int row = i / kTileUnits;
    const int unit = i % kTileUnits;
    const int within = unit % (4 * kUnits);
    const int place = unit - within + within % kUnits * 4 + within / kUnits;
    const int input = index * kTileInputs + unit * 8;
    const bool wanted = row < rows && input < args.inputs;
    const std::ptrdiff_t from = static_cast<std::ptrdiff_t>(row) * args.inputs + input;
    CopyAsync16(tile + row * kPitch + place * 8, args.x + (wanted ? from : 0), wanted);
  }
  CommitCopies();
}

// The four pieces that a lane has of a step: outputs Lane() / 4, + 8, + 16, + 24.
template <class W>
struct Step {
  WeightPiece<W> pieces[4];

  __device__ void Ask(const WeightPieces<W>& weights, int first_output, int outputs, int piece) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      pieces[i] = weights.Load(min(first_output + Lane() / 4 + 8 * i, outputs - 1), piece);
  }

  // The left factor of outputs 16 half.. and inputs 4 i.. of the pieces.
  __device__ void Left(int half, int i, std::uint32_t (&a)[4]) const {
    a[0] = UnpackPair(pieces[2 * half], 2 * i);
    a[1] = UnpackPair(pieces[2 * half + 1], 2 * i);
    a[2] = UnpackPair(pieces[2 * half], 2 * i + 1);
    a[3] = UnpackPair(pieces[2 * half + 1], 2 * i + 1);
  }
};

// sums[half][column] of 16 outputs and 8 rows, and of int4 what the ones give.
template <int kColumns>
struct Products {
  float sums[2][kColumns][4] = {};
  float x_sums[kColumns][4] = {};
};

// Adds the products of a step with the rows whose tile begins at `x`.
template <class W, int kColumns>
__device__ void AddProducts(const Step<W>& step, const __nv_bfloat16* x,
                            Products<kColumns>& products) {
  constexpr std::uint32_t kOnes[4] = {0x3F803F80, 0x3F803F80, 0x3F803F80, 0x3F803F80};
  x += Lane() / 4 * kPitch + Lane() % 4 * 8;
#pragma unroll
  for (int unit = 0; unit < kPieceInputs<W> / 8; ++unit) {
    std::uint32_t a[2][2][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) step.Left(i / 2, 2 * unit + i % 2, a[i / 2][i % 2]);
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
      const Vector<std::uint32_t, 4> words =
          Load<4>(reinterpret_cast<const std::uint32_t*>(x + column * 8 * kPitch + unit * 4 * 8));
      const std::uint32_t b[2][2] = {{words[0], words[1]}, {words[2], words[3]}};
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        MultiplyBf16(products.sums[0][column], a[0][i], b[i]);
        MultiplyBf16(products.sums[1][column], a[1][i], b[i]);
        if constexpr (kIsInt4<W>) MultiplyBf16(products.x_sums[column], kOnes, b[i]);
      }
    }
  }
}

// The same for weights, whatever their codes stand for; int8 has its scale to come.
template <class W, int kRows>
__device__ void AddStep(const Step<W>& step, const __nv_bfloat16* x, Products<kRows / 8>& total) {
  using S = Shape<W, kRows>;
  if constexpr (!kIsInt4<W>) {
    AddProducts(step, x, total);
  } else {
    Products<S::kColumns> products;
    AddProducts(step, x, products);
#pragma unroll
    for (int i = 0; i < 2 * S::kColumns * 4; ++i) {
      const int half = i / 4 / S::kColumns;
      const int column = i / 4 % S::kColumns;
      const WeightPiece<W>& piece = step.pieces[2 * half + i % 4 / 2];
      float& sum = total.sums[half][column][i % 4];
      sum = fmaf(piece.Minimum(), products.x_sums[column][i % 4], sum);
      sum = fmaf(piece.Scale(), products.sums[half][column][i % 4], sum);
    }
  }
}

// Adds up what the warps of each quartet have, and writes y. The tiles are used no more.
template <class W, int kRows, class Args>
__device__ void FinishBlock(const Args& args, int rows, const Products<kRows / 8>& total) {
  using S = Shape<W, kRows>;
  float* const sums = DynamicShared<float>();
  const int own = Warp() / kQuartet * kWarpOutputs + Lane() / 4;
  float* const to = sums + (Warp() % kQuartet * S::kOutputs + own) * S::kSumPitch + Lane() % 4 * 2;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 2 * S::kColumns * 4; ++i) {
    const int half = i / 4 / S::kColumns;
    const int column = i / 4 % S::kColumns;
    to[(16 * half + i % 4 / 2 * 8) * S::kSumPitch + column * 8 + i % 2] =
        total.sums[half][column][i % 4];
  }
  __syncthreads();
  for (int i = Thread(); i < rows * S::kOutputs; i += Threads()) {
    const int row = i / S::kOutputs;
    const int output = static_cast<int>(blockIdx.y) * S::kOutputs + i % S::kOutputs;
    if (output >= args.outputs) continue;
    float sum = 0;
#pragma unroll
    for (int warp = 0; warp < kQuartet; ++warp)
      sum += sums[(warp * S::kOutputs + i % S::kOutputs) * S::kSumPitch + row];
    Finish(args, row, output, sum);
  }
}

template <class W, int kRows, class Y>
__global__ void __launch_bounds__(Shape<W, kRows>::kThreads, 1)
    LinearSkinnyKernel(LinearArgs<W, __nv_bfloat16, Y> args) {
  using S = Shape<W, kRows>;
  const int first_row = static_cast<int>(blockIdx.x) * kRows;
  const int rows = min(min(*args.rows - args.rows_before, args.row_capacity) - first_row, kRows);
  if (rows <= 0) return;
  args.x += static_cast<std::ptrdiff_t>(first_row) * args.inputs;
  args.y += static_cast<std::ptrdiff_t>(first_row) * args.outputs;
  __nv_bfloat16* const tiles = DynamicShared<__nv_bfloat16>();

  const WeightPieces<W> weights(args);
  const int first = static_cast<int>(blockIdx.y) * S::kOutputs + Warp() / kQuartet * kWarpOutputs;
  const int turn = Warp() % kQuartet;
  Step<W> steps[S::kDepth];
  const auto ask = [&](int round, Step<W>& step) {
    step.Ask(weights, first, args.outputs, (round * kQuartet + turn) * 4 + Lane() % 4);
  };
#pragma unroll
  for (int i = 0; i < S::kDepth; ++i) ask(i, steps[i]);
  BringTile<W, kRows>(args, rows, 0, tiles);

  Products<S::kColumns> total;
  const int rounds = (RowPieces<W>(args.inputs) + kQuartet * 4 - 1) / (kQuartet * 4);
  for (int next = 0; next < rounds; next += S::kDepth) {
#pragma unroll
    for (int i = 0; i < S::kDepth; ++i) {
      const int round = next + i;
      if (round >= rounds) break;
      const int tile = round / S::kTileRounds;
      if (i % S::kTileRounds == 0 && round % S::kTileRounds == 0) {
        WaitCopies<0>();
        __syncthreads();  // the tile is there, and nobody reads the one before it any more
        if (round + S::kTileRounds < rounds)
          BringTile<W, kRows>(args, rows, tile + 1, tiles + (tile + 1) % kStages * S::kTile);
      }
      const int step = round % S::kTileRounds * kQuartet + turn;  // of the tile
      AddStep<W, kRows>(steps[i], tiles + tile % kStages * S::kTile + step * 4 * S::kUnits * 8,
                        total);
      ask(round + S::kDepth, steps[i]);
    }
  }
  FinishBlock<W, kRows>(args, rows, total);
}

template <class W, int kRows, class Y>
cudaError_t LaunchSkinny(const LinearArgs<W, __nv_bfloat16, Y>& args, cudaStream_t stream) {
  using S = Shape<W, kRows>;
  const auto blocks = [](int count, int each) {
    return static_cast<unsigned>((count + each - 1) / each);
  };
  return Launch(&LinearSkinnyKernel<W, kRows, Y>,
                {.grid = dim3(blocks(args.row_capacity, kRows), blocks(args.outputs, S::kOutputs)),
                 .block = dim3(S::kThreads),
                 .shared_bytes = S::kSharedBytes,
                 .name = "linear_skinny"},
                stream, args);
}

}  // namespace skinny

template <class W, class Y>
cudaError_t LinearSkinny(const LinearArgs<W, __nv_bfloat16, Y>& args, cudaStream_t stream) {
  if (args.inputs % 8 != 0 || args.row_capacity > kSkinnyRows) return cudaErrorInvalidValue;
  if (args.outputs == 0 || args.row_capacity == 0) return cudaSuccess;
  constexpr int kMostRows = kIsInt4<W> ? 32 : 64;  // of a block
  if (args.row_capacity <= 8) return skinny::LaunchSkinny<W, 8>(args, stream);
  if (args.row_capacity <= 16) return skinny::LaunchSkinny<W, 16>(args, stream);
  if (args.row_capacity <= 32) return skinny::LaunchSkinny<W, 32>(args, stream);
  return skinny::LaunchSkinny<W, kMostRows>(args, stream);
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_LINEAR_SKINNY_KERNEL_CUH_
