// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/attend_prefill.cuh"

#include <cstddef>

#include "cuda/device/thread.cuh"
#include "cuda/kernels/attend_tile.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

constexpr int kPrefillWarps = kPrefillRows / kTileRows;
constexpr int kPrefillThreads = kPrefillWarps * kWarpLanes;

template <int kWidth>
constexpr int kPrefillKeys = kWidth > 128 ? 32 : 64;  // in a tile

template <int kWidth>
constexpr std::size_t kPrefillShared =
    (kPrefillRows + 2 * 2 * kPrefillKeys<kWidth>)*kPitch<kWidth> * sizeof(__nv_bfloat16);

// The shared memory of a block: its queries, and two stages of keys and values.
template <int kWidth>
struct PrefillTiles {
  static constexpr int kKeysSize = kPrefillKeys<kWidth> * kPitch<kWidth>;

  __nv_bfloat16* q = DynamicShared<__nv_bfloat16>();

  __device__ __nv_bfloat16* keys(int step) const {
    return q + kPrefillRows * kPitch<kWidth> + step % 2 * 2 * kKeysSize;
  }
  __device__ __nv_bfloat16* values(int step) const { return keys(step) + kKeysSize; }
};

// Begins to copy tile `step` of the keys and values: a page of either for each warp in turn.
template <int kWidth>
__device__ void CopyStep(const PrefillTiles<kWidth>& tiles, const AttendArgs& args,
                         const RowGroup& group, int head, int step) {
  constexpr int kPages = kPrefillKeys<kWidth> / kPageTokens;
#pragma unroll
  for (int i = Warp(); i < 2 * kPages; i += kPrefillWarps) {
    const int page = i % kPages;
    const bool keys = i < kPages;
    CopyPage<kWidth>((keys ? tiles.keys(step) : tiles.values(step)) +
                         page * kPageTokens * kPitch<kWidth>,
                     keys ? args.keys : args.values, args, group, head, step * kPages + page,
                     group.position + group.rows);
  }
  CommitCopies();
}

// Writes the warp's rows of `out`, of which `exist` do.
template <int kWidth>
__device__ void StoreRows(__nv_bfloat16* out, std::ptrdiff_t stride, int dim, int exist,
                          const TileState<kWidth>& state) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = Lane() / 4 + 8 * h;
    const float sum = state.Sum(h);
    if (row >= exist) continue;
#pragma unroll
    for (int i = 0; i < kWidth / 8; ++i) {
      if (8 * i >= dim) break;
      const Vector<float, 2> pair{{state.o[i][2 * h] / sum, state.o[i][2 * h + 1] / sum}};
      Store(out + row * stride + 8 * i + Lane() % 4 * 2, FromFloat<__nv_bfloat16>(pair));
    }
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kPrefillThreads) AttendPrefillKernel(AttendArgs args) {
  constexpr int kKeys = kPrefillKeys<kWidth>;
  if (static_cast<int>(blockIdx.y) >= *args.count) return;
  const RowGroup group = args.groups[blockIdx.y];
  const int head = static_cast<int>(blockIdx.x);
  const PrefillTiles<kWidth> tiles;
  CopyQueries<kWidth, kPrefillRows>(tiles.q, args, group, head);
  CopyStep(tiles, args, group, head, 0);

  const int row = Warp() * kTileRows;  // the warp's first
  const int position = group.position + row;
  const int steps = (group.position + group.rows + kKeys - 1) / kKeys;
  TileState<kWidth> state;
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) {
      CopyStep(tiles, args, group, head, step + 1);
    } else {
      CommitCopies();  // nothing, so that the stage to wait for is always the last but one
    }
    WaitCopies<1>();
    __syncthreads();
    if (step * kKeys < position + kTileRows && row < group.rows) {
      float scores[kKeys / 8][4];
      Score<kWidth, kKeys>(scores, tiles.q + row * kPitch<kWidth>, tiles.keys(step));
      if ((step + 1) * kKeys > position + 1) MaskLater<kKeys>(scores, step * kKeys, position);
      state.template Add<kKeys>(scores, tiles.values(step));
    }
    __syncthreads();
  }
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(args.heads) * args.dim;
  StoreRows(args.y + (group.row + row) * stride + head * args.dim, stride, args.dim,
            group.rows - row, state);
}

}  // namespace

cudaError_t AttendPrefill(const AttendArgs& args, cudaStream_t stream) {
  return WithWidth(args.dim, [&](auto width) {
    if (args.group_capacity == 0) return cudaSuccess;
    return Launch(&AttendPrefillKernel<width()>,
                  {.grid = dim3(static_cast<unsigned>(args.heads),
                                static_cast<unsigned>(args.group_capacity)),
                   .block = dim3(kPrefillThreads),
                   .shared_bytes = kPrefillShared<width()>,
                   .name = "attend_prefill"},
                  stream, args);
  });
}

}  // namespace codegen::cuda
