// SPDX-License-Identifier: Apache-2.0
//
// The kernel of linear_few.cuh, for the files that instantiate it: one for each format of weights.
#ifndef CODEGEN_CUDA_KERNELS_LINEAR_FEW_KERNEL_CUH_
#define CODEGEN_CUDA_KERNELS_LINEAR_FEW_KERNEL_CUH_

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "cuda/device/thread.cuh"
#include "cuda/device/vector.cuh"
#include "cuda/kernels/linear_few.cuh"
#include "cuda/kernels/linear_finish.cuh"
#include "cuda/kernels/linear_piece.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace few {

inline constexpr int kTileNumbers = 8192;  // of x, in all rows together
inline constexpr int kPlane = 4 * kWarpLanes;

template <class W, int kRows>
struct Shape {
  static constexpr int kOutputs = kRows == 1 && !kIsInt4<W> ? 2 : 4;  // of a warp
  static constexpr int kDepth = kRows <= 2 && !kIsInt4<W> ? 4 : 2;    // chunks on their way
  // The widest block, and how many of it must find room for their registers.
  static constexpr int kWarps = kRows == 8 ? 6 : 8;
  static constexpr int kBlocks = kIsInt4<W> ? (kRows == 8 ? 1 : 2) : (kRows == 1 ? 3 : 2);
  static constexpr int kSums = kRows * kOutputs;
  static constexpr int kPlanes = kPieceInputs<W> / 4;
  static constexpr int kTileChunks = kTileNumbers / kRows / kPlanes / kPlane;
  static constexpr int kTilePieces = kTileChunks * kWarpLanes;  // of a row
  static_assert(kTileChunks >= 1);
};

template <class W>
__device__ int Chunks(int inputs) {
  return (RowPieces<W>(inputs) + kWarpLanes - 1) / kWarpLanes;
}

// A tile of x in shared memory: numbers [row][chunk][plane][lane][4], zero where there is no input
// or no row, and for int4 the sums of the inputs of each piece [row][chunk][lane].
struct XTile {
  float* numbers;
  float* piece_sums;
};

template <class W, int kRows, class Args>
__device__ void BringPiece(const Args& args, int rows, int first_chunk, int index,
                           const XTile& tile) {
  using S = Shape<W, kRows>;
  const int row = index / S::kTilePieces;
  const int piece = index % S::kTilePieces;
  const int input = (first_chunk * kWarpLanes + piece) * kPieceInputs<W>;
  const auto* const x = args.x + static_cast<std::ptrdiff_t>(row) * args.inputs + input;
  float* const to = tile.numbers +
                    (row * S::kTileChunks + piece / kWarpLanes) * S::kPlanes * kPlane +
                    piece % kWarpLanes * 4;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < S::kPlanes; ++i) {
    Vector<float, 4> numbers = {};
    if (row < rows && input + 4 * i < args.inputs) numbers = ToFloat(Load<4>(x + 4 * i));
    Store(to + i * kPlane, numbers);
    if constexpr (kIsInt4<W>) sum += (numbers[0] + numbers[1]) + (numbers[2] + numbers[3]);
  }
  if constexpr (kIsInt4<W>) tile.piece_sums[index] = sum;
}

// Puts the tile that begins at a chunk in the place of the last one.
template <class W, int kRows, class Args>
__device__ void BringTile(const Args& args, int rows, int first_chunk, const XTile& tile) {
  using S = Shape<W, kRows>;
  const int chunks = Chunks<W>(args.inputs) - first_chunk;
  __syncthreads();
  for (int i = Thread(); i < kRows * S::kTilePieces; i += Threads())
    if (i % S::kTilePieces / kWarpLanes < chunks)
      BringPiece<W, kRows>(args, rows, first_chunk, i, tile);
  __syncthreads();
}

// sums[row * kOutputs + output] += x * numbers of a piece, for chunk `chunk` of the tile.
template <class W, int kRows>
__device__ void AddProducts(const WeightPiece<W> (&pieces)[Shape<W, kRows>::kOutputs],
                            const float* x, int chunk, float (&sums)[Shape<W, kRows>::kSums]) {
  using S = Shape<W, kRows>;
  x += chunk * S::kPlanes * kPlane + Lane() * 4;
#pragma unroll
  for (int i = 0; i < S::kPlanes; ++i) {
    Vector<float, 4> w[S::kOutputs];
#pragma unroll
    for (int output = 0; output < S::kOutputs; ++output) w[output] = Unpack(pieces[output], i);
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const Vector<float, 4> numbers =
          Load<4>(x + (row * S::kTileChunks * S::kPlanes + i) * kPlane);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int output = 0; output < S::kOutputs; ++output) {
          float& sum = sums[row * S::kOutputs + output];
          sum = fmaf(numbers[j], w[output][j], sum);
        }
      }
    }
  }
}

// The same for weights, whatever their numbers stand for; int8 has its scale to come.
template <class W, int kRows>
__device__ void AddChunk(const WeightPiece<W> (&pieces)[Shape<W, kRows>::kOutputs],
                         const XTile& tile, int chunk, float (&sums)[Shape<W, kRows>::kSums]) {
  using S = Shape<W, kRows>;
  if constexpr (kIsInt4<W>) {
    float products[S::kSums] = {};
    AddProducts<W, kRows>(pieces, tile.numbers, chunk, products);
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const float x = tile.piece_sums[(row * S::kTileChunks + chunk) * kWarpLanes + Lane()];
#pragma unroll
      for (int output = 0; output < S::kOutputs; ++output) {
        const int i = row * S::kOutputs + output;
        sums[i] = fmaf(pieces[output].Minimum(), x, sums[i]);
        sums[i] = fmaf(pieces[output].Scale(), products[i], sums[i]);
      }
    }
  } else {
    AddProducts<W, kRows>(pieces, tile.numbers, chunk, sums);
  }
}

// Adds kCount sums up over the warp, and returns sum Lane() / (32 / kCount). In each step a lane
// gives away one half of its sums and adds its partner's to the other. Every sum goes through the
// same tree, whatever kCount.
template <int kCount>
__device__ float SumOverWarp(float (&sums)[kCount]) {
  static_assert(kCount <= kWarpLanes && (kCount & (kCount - 1)) == 0);
#pragma unroll
  for (int step = 0; step < 5; ++step) {
    const int distance = kWarpLanes / 2 >> step;
    const int half = kCount >> (step + 1);
    const bool upper = (Lane() & distance) != 0;
    if (half == 0) sums[0] += __shfl_xor_sync(kAllLanes, sums[0], distance);
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float kept = upper ? sums[i + half] : sums[i];
      const float given = upper ? sums[i] : sums[i + half];
      sums[i] = kept + __shfl_xor_sync(kAllLanes, given, distance);
    }
  }
  return sums[0];
}

template <class W, int kRows, class X, class Y>
__global__ void __launch_bounds__(Shape<W, kRows>::kWarps* kWarpLanes, Shape<W, kRows>::kBlocks)
    LinearFewKernel(LinearArgs<W, X, Y> args) {
  using S = Shape<W, kRows>;
  CODEGEN_SHARED(float, numbers, kTileNumbers);
  CODEGEN_SHARED(float, piece_sums, kIsInt4<W> ? kTileNumbers / kPieceInputs<W> : 1);
  const XTile tile{numbers, piece_sums};
  const int rows = min(*args.rows - args.rows_before, args.row_capacity);
  if (rows <= 0) return;

  const int first = (static_cast<int>(blockIdx.x) * Warps() + Warp()) * S::kOutputs;
  const WeightPieces<W> weights(args);
  WeightPiece<W> pieces[S::kDepth][S::kOutputs];
  const auto ask = [&](int chunk, WeightPiece<W>(&to)[S::kOutputs]) {
#pragma unroll
    for (int i = 0; i < S::kOutputs; ++i)
      to[i] = weights.Load(min(first + i, args.outputs - 1), chunk * kWarpLanes + Lane());
  };
#pragma unroll
  for (int i = 0; i < S::kDepth; ++i) ask(i, pieces[i]);

  float sums[S::kSums] = {};
  const int chunks = Chunks<W>(args.inputs);
  for (int next = 0; next < chunks; next += S::kDepth) {
#pragma unroll
    for (int i = 0; i < S::kDepth; ++i) {
      const int chunk = next + i;
      if (chunk >= chunks) break;
      if (i % S::kTileChunks == 0 && chunk % S::kTileChunks == 0)
        BringTile<W, kRows>(args, rows, chunk, tile);
      AddChunk<W, kRows>(pieces[i], tile, chunk % S::kTileChunks, sums);
      ask(chunk + S::kDepth, pieces[i]);
    }
  }

  const float sum = SumOverWarp(sums);
  const int index = Lane() / (kWarpLanes / S::kSums);
  const int row = index / S::kOutputs;
  const int output = first + index % S::kOutputs;
  if (Lane() % (kWarpLanes / S::kSums) == 0 && row < rows && output < args.outputs)
    Finish(args, row, output, sum);
}

// As many as fill an H200 with the widest blocks twice; then x need not be brought to more of them.
inline constexpr int kManyWarps = 2 * 132 * 8;

template <class W, int kRows, class X, class Y>
cudaError_t LaunchFew(const LinearArgs<W, X, Y>& args, cudaStream_t stream) {
  constexpr int kOutputs = Shape<W, kRows>::kOutputs;
  const int warps = (args.outputs + kOutputs - 1) / kOutputs;
  const int block = warps >= kManyWarps ? Shape<W, kRows>::kWarps : 4;
  return Launch(&LinearFewKernel<W, kRows, X, Y>,
                {.grid = dim3(static_cast<unsigned>((warps + block - 1) / block)),
                 .block = dim3(static_cast<unsigned>(block * kWarpLanes)),
                 .name = "linear_few"},
                stream, args);
}

}  // namespace few

template <class W, class X, class Y>
cudaError_t LinearFew(const LinearArgs<W, X, Y>& args, cudaStream_t stream) {
  if (args.inputs % 8 != 0 || args.row_capacity > kFewRows) return cudaErrorInvalidValue;
  if (args.outputs == 0 || args.row_capacity == 0) return cudaSuccess;
  if (args.row_capacity == 1) return few::LaunchFew<W, 1>(args, stream);
  if (args.row_capacity == 2) return few::LaunchFew<W, 2>(args, stream);
  if (args.row_capacity <= 4) return few::LaunchFew<W, 4>(args, stream);
  return few::LaunchFew<W, 8>(args, stream);
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_KERNELS_LINEAR_FEW_KERNEL_CUH_
