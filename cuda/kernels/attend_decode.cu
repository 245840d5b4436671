// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/attend_decode.cuh"

#include <cstddef>

#include "cuda/device/thread.cuh"
#include "cuda/kernels/attend_tile.cuh"
#include "cuda/launch.h"

namespace codegen::cuda {
namespace {

static_assert(kSplitKeys % kPageTokens == 0 && kDecodeRows <= kTileRows / 2);

constexpr int kSplitPages = kSplitKeys / kPageTokens;

template <int kWidth>
constexpr int kDecodeWarps = kWidth > 128 ? 2 : 4;

template <int kWidth>
constexpr int kPageSize = kPageTokens * kPitch<kWidth>;  // in a tile

// Queries, and for each warp two stages of a page of keys and one of values. When all pages are
// done, the stages hold the sums of the warps: [warps, 8, kWidth] f32.
template <int kWidth>
constexpr std::size_t kDecodeShared =
    (kTileRows * kPitch<kWidth> + kDecodeWarps<kWidth> * 4 * kPageSize<kWidth>)*sizeof(
        __nv_bfloat16);
static_assert(4 * 16 * 2 >= 8 * 4, "the sums of a warp fit in its stages");

template <int kWidth>
struct DecodeTiles {
  __nv_bfloat16* q = DynamicShared<__nv_bfloat16>();

  __device__ __nv_bfloat16* stages() const { return q + kTileRows * kPitch<kWidth>; }
  __device__ __nv_bfloat16* keys(int step) const {
    return stages() + (Warp() * 2 + step % 2) * 2 * kPageSize<kWidth>;
  }
  __device__ __nv_bfloat16* values(int step) const { return keys(step) + kPageSize<kWidth>; }
  __device__ float* sums() const { return reinterpret_cast<float*>(stages()); }
};

// One piece of work.
struct Work {
  Split split;
  RowGroup group;
  int head;

  __device__ int end() const { return group.position + group.rows; }  // of the group's positions
};

// All pages of the split that fall to this warp. Requires: all threads of the block call it; the
// copies of the queries have begun.
template <int kWidth>
__device__ void AttendPages(TileState<kWidth>& state, const DecodeTiles<kWidth>& tiles,
                            const AttendArgs& args, const Work& work) {
  constexpr int kWarps = kDecodeWarps<kWidth>;
  const int first = work.split.index * kSplitPages + Warp();
  const int pages = min((work.split.index + 1) * kSplitPages,
                        (work.end() + kPageTokens - 1) / kPageTokens);
  const auto copy = [&](int page, int step) {
    if (page < pages) {
      CopyPage<kWidth>(tiles.keys(step), args.keys, args, work.group, work.head, page, work.end());
      CopyPage<kWidth>(tiles.values(step), args.values, args, work.group, work.head, page,
                       work.end());
    }
    CommitCopies();  // of nothing at the end, so that the stage to wait for is the last but one
  };
  copy(first, 0);  // and the queries
  copy(first + kWarps, 1);
  WaitCopies<1>();
  __syncthreads();
  for (int page = first, step = 0; page < pages; page += kWarps, ++step) {
    float scores[kPageTokens / 8][4];
    Score<kWidth, kPageTokens>(scores, tiles.q, tiles.keys(step));
    if ((page + 1) * kPageTokens > work.group.position + 1)
      MaskLater<kPageTokens>(scores, page * kPageTokens, work.group.position);
    state.template Add<kPageTokens>(scores, tiles.values(step));
    __syncwarp();
    copy(page + 2 * kWarps, step);
    WaitCopies<1>();
    __syncwarp();
  }
}

// Lays the sums of the warps side by side: in the tiles, which nobody reads any more, and `states`
// [warps, 8].
template <int kWidth>
__device__ void ShareSums(const TileState<kWidth>& state, const DecodeTiles<kWidth>& tiles,
                          float2* states) {
  const int row = Lane() / 4;  // h = 0: the upper half
  const float sum = state.Sum(0);
  if (Lane() % 4 == 0) states[Warp() * kDecodeRows + row] = {state.rows[0].max, sum};
  float* const o = tiles.sums() + (Warp() * kDecodeRows + row) * kWidth + Lane() % 4 * 2;
#pragma unroll
  for (int i = 0; i < kWidth / 8; ++i)
    Store(o + 8 * i, Vector<float, 2>{{state.o[i][0], state.o[i][1]}});
}

// Four columns of a row, and its softmax so far.
struct Piece {
  SoftmaxState state;
  float o[4] = {};

  // Adds the result over other keys. Requires: state.max was raised to theirs before.
  __device__ void Add(float2 other, const Vector<float, 4>& sums) {
    const float factor = SoftmaxWeight(other.x, state.max);
    state.sum += factor * other.y;
#pragma unroll
    for (int i = 0; i < 4; ++i) o[i] += factor * sums[i];
  }
};

// Adds `count` results in order; state(i) and sums(i) load those of number i.
template <class LoadState, class LoadSums>
__device__ Piece AddAll(int count, const LoadState& state, const LoadSums& sums) {
  Piece piece;
  for (int i = 0; i < count; ++i) piece.state.max = fmaxf(piece.state.max, state(i).x);
  for (int i = 0; i < count; ++i) piece.Add(state(i), sums(i));
  return piece;
}

// Calls use(row, d) for every fourth element of all rows and columns, shared among the threads.
template <class Use>
__device__ void ForEachPiece(int rows, int dim, const Use& use) {
  const int pieces = dim / 4;
  for (int i = Thread(); i < rows * pieces; i += Threads()) use(i / pieces, i % pieces * 4);
}

__device__ void StoreResult(const AttendArgs& args, const Work& work, int row, int d,
                            const Piece& piece) {
  Vector<float, 4> y;
#pragma unroll
  for (int i = 0; i < 4; ++i) y[i] = piece.o[i] / piece.state.sum;
  const std::ptrdiff_t head = static_cast<std::ptrdiff_t>(work.group.row + row) * args.heads;
  Store(args.y + (head + work.head) * args.dim + d, FromFloat<__nv_bfloat16>(y));
}

// Number of a split's row and head among all partial results.
__device__ std::ptrdiff_t PartialIndex(const AttendArgs& args, const Work& work, int split,
                                       int row) {
  const std::ptrdiff_t slot = work.split.slot + split * work.group.rows + row;
  return slot * args.heads + work.head;
}

// Adds the warps of the block; what comes out is the result, or the split's part of it.
template <int kWidth>
__device__ void AddWarps(const AttendDecodeArgs& args, const Work& work,
                         const DecodeTiles<kWidth>& tiles, const float2* states) {
  const AttendArgs& attend = args.attend;
  ForEachPiece(work.group.rows, attend.dim, [&](int row, int d) {
    const auto at = [&](int warp) { return warp * kDecodeRows + row; };
    const Piece piece = AddAll(
        kDecodeWarps<kWidth>, [&](int warp) { return states[at(warp)]; },
        [&](int warp) { return Load<4>(tiles.sums() + at(warp) * kWidth + d); });
    if (work.split.splits == 1) return StoreResult(attend, work, row, d, piece);
    const std::ptrdiff_t index = PartialIndex(attend, work, work.split.index, row);
    if (d == 0) args.partial.state[index] = {piece.state.max, piece.state.sum};
    Store(args.partial.o + index * attend.dim + d,
          Vector<float, 4>{{piece.o[0], piece.o[1], piece.o[2], piece.o[3]}});
  });
}

// Whether all other splits have their partial results. They can be read then, and so can ours by
// the block that arrives last. Requires: all threads of the block call it.
__device__ bool ArrivesLast(const AttendDecodeArgs& args, const Work& work) {
  CODEGEN_SHARED(std::uint32_t, arrived, 1);
  std::uint32_t* const ready =
      args.plan.ready + static_cast<std::ptrdiff_t>(work.split.group) * args.attend.heads +
      work.head;
  __threadfence();  // what this thread wrote, before the count
  __syncthreads();
  if (Thread() == 0) {
    arrived[0] = atomicAdd(ready, 1U) + 1;
    if (arrived[0] == static_cast<std::uint32_t>(work.split.splits)) *ready = 0;
  }
  __syncthreads();
  __threadfence();  // the count, before what others wrote
  return arrived[0] == static_cast<std::uint32_t>(work.split.splits);
}

// Past the first-level cache, which does not see what other multiprocessors write.
__device__ void AddSplits(const AttendDecodeArgs& args, const Work& work) {
  const AttendArgs& attend = args.attend;
  ForEachPiece(work.group.rows, attend.dim, [&](int row, int d) {
    const auto at = [&](int split) { return PartialIndex(attend, work, split, row); };
    const Piece piece = AddAll(
        work.split.splits, [&](int split) { return __ldcg(args.partial.state + at(split)); },
        [&](int split) {
          const float4 o = __ldcg(
              reinterpret_cast<const float4*>(args.partial.o + at(split) * attend.dim + d));
          return Vector<float, 4>{{o.x, o.y, o.z, o.w}};
        });
    StoreResult(attend, work, row, d, piece);
  });
}

template <int kWidth>
__global__ void __launch_bounds__(kDecodeWarps<kWidth>* kWarpLanes)
    AttendDecodeKernel(AttendDecodeArgs args) {
  CODEGEN_SHARED(float2, states, kDecodeWarps<kWidth> * kDecodeRows);
  const DecodeTiles<kWidth> tiles;
  const int count = *args.plan.count;
  for (int i = static_cast<int>(blockIdx.y); i < count; i += static_cast<int>(gridDim.y)) {
    const Split split = args.plan.splits[i];
    const Work work{split, args.attend.groups[split.group], static_cast<int>(blockIdx.x)};
    CopyQueries<kWidth, kTileRows>(tiles.q, args.attend, work.group, work.head);
    TileState<kWidth> state;
    AttendPages(state, tiles, args.attend, work);
    __syncthreads();
    ShareSums(state, tiles, states);
    __syncthreads();
    AddWarps(args, work, tiles, states);
    if (split.splits > 1 && ArrivesLast(args, work)) AddSplits(args, work);
    __syncthreads();  // before the next queries come
  }
}

}  // namespace

cudaError_t AttendDecode(const AttendDecodeArgs& args, cudaStream_t stream) {
  return WithWidth(args.attend.dim, [&](auto width) {
    if (args.attend.group_capacity == 0) return cudaSuccess;
    return Launch(&AttendDecodeKernel<width()>,
                  {.grid = dim3(static_cast<unsigned>(args.attend.heads),
                                static_cast<unsigned>(args.blocks_per_head)),
                   .block = dim3(kDecodeWarps<width()> * kWarpLanes),
                   .shared_bytes = kDecodeShared<width()>,
                   .name = "attend_decode"},
                  stream, args);
  });
}

}  // namespace codegen::cuda
