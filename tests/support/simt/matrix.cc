// SPDX-License-Identifier: Apache-2.0
//
// Fragment layouts as in the PTX manual, sections ldmatrix and mma.m16n8k16. Lane l of a warp
// stands at row l / 4 and columns 2 (l % 4) and the next of each 8x8 matrix.
//
// The products of two 16-bit floats are exact in f32; they are added in the order of k, where a
// device adds them in another order and cuts off low bits.
#include "support/simt/matrix.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "support/simt/block.h"
#include "support/simt/memory.h"

namespace codegen::simt {
namespace {

constexpr int kEdge = 8;  // of a matrix that ldmatrix loads
constexpr int kRowBytes = kEdge * 2;

struct LoadedRow {
  std::uint16_t elements[kEdge];  // of the lanes that give an address
  std::uint32_t fragments[4];
};

const LoadedRow& RowOf(const Block::Lanes& lanes, int lane) {
  return *static_cast<const LoadedRow*>(lanes[static_cast<std::size_t>(lane)]);
}

std::uint32_t Pack(std::uint16_t low, std::uint16_t high) {
  return static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 16;
}

template <int kMatrices, Layout kLayout>
void FinishLoad(const Block::Lanes& lanes, unsigned /*mask*/) {
  const auto at = [&](int matrix, int row, int column) {
    if (kLayout == Layout::kTransposed) std::swap(row, column);
    return RowOf(lanes, matrix * kEdge + row).elements[column];
  };
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    auto* mine = static_cast<LoadedRow*>(lanes[static_cast<std::size_t>(lane)]);
    const int row = lane / 4;
    const int column = lane % 4 * 2;
    for (int matrix = 0; matrix < kMatrices; ++matrix)
      mine->fragments[matrix] = Pack(at(matrix, row, column), at(matrix, row, column + 1));
  }
}

template <Layout kLayout>
auto FinishFor(int matrices) {
  return matrices == 4   ? &FinishLoad<4, kLayout>
         : matrices == 2 ? &FinishLoad<2, kLayout>
                         : &FinishLoad<1, kLayout>;
}

using Widen = float (*)(std::uint16_t);

float WidenBf16(std::uint16_t bits) { return __bfloat162float(__ushort_as_bfloat16(bits)); }
float WidenF16(std::uint16_t bits) { return __half2float(__ushort_as_half(bits)); }

struct Factors {
  float* sum;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

// All of a product: sum [16, 8] += a [16, 16] * b [16, 8], b held by columns.
struct Tile {
  float a[16][16];
  float b[8][16];

  void Gather(const Factors& lane_factors, int lane, Widen widen);
  void AddProduct(const Factors& lane_factors, int lane) const;
};

void Store(float* pair, std::uint32_t packed, Widen widen) {
  pair[0] = widen(static_cast<std::uint16_t>(packed));
  pair[1] = widen(static_cast<std::uint16_t>(packed >> 16));
}

void Tile::Gather(const Factors& lane_factors, int lane, Widen widen) {
  const int row = lane / 4;
  const int column = lane % 4 * 2;
  for (int i = 0; i < 4; ++i)
    Store(&a[row + i % 2 * 8][column + i / 2 * 8], lane_factors.a[i], widen);
  for (int i = 0; i < 2; ++i) Store(&b[row][column + i * 8], lane_factors.b[i], widen);
}

void Tile::AddProduct(const Factors& lane_factors, int lane) const {
  for (int i = 0; i < 4; ++i) {
    const float* row = a[lane / 4 + i / 2 * 8];
    const float* column = b[lane % 4 * 2 + i % 2];
    float product = 0;
    for (int k = 0; k < 16; ++k) product += row[k] * column[k];
    lane_factors.sum[i] += product;
  }
}

template <Widen kWiden>
void FinishProduct(const Block::Lanes& lanes, unsigned /*mask*/) {
  const auto factors = [&](int lane) -> const Factors& {
    return *static_cast<const Factors*>(lanes[static_cast<std::size_t>(lane)]);
  };
  Tile tile;
  for (int lane = 0; lane < kWarpLanes; ++lane) tile.Gather(factors(lane), lane, kWiden);
  for (int lane = 0; lane < kWarpLanes; ++lane) tile.AddProduct(factors(lane), lane);
}

template <Widen kWiden>
void Multiply(const Factors& factors, const Block::Stop& stop) {
  Factors mine = factors;
  CurrentBlock().Meet(Block::kAllLanes, &mine, &FinishProduct<kWiden>, Block::Memory::kUnordered,
                      stop);
}

}  // namespace

// Each lane reads its own row, so that sanitizers see who read it.
void LoadMatrices(std::uint32_t* fragments, int matrices, const void* row, Layout layout,
                  Place place) {
  LoadedRow loaded{};
  if (CurrentBlock().lane() < matrices * kEdge) {
    CheckShared(row, kRowBytes, "LoadMatrix", place);
    std::memcpy(loaded.elements, row, kRowBytes);
  }
  const auto finish = layout == Layout::kTransposed ? FinishFor<Layout::kTransposed>(matrices)
                                                    : FinishFor<Layout::kAsStored>(matrices);
  CurrentBlock().Meet(Block::kAllLanes, &loaded, finish, Block::Memory::kUnordered,
                      {"LoadMatrix", place});
  for (int i = 0; i < matrices; ++i) fragments[i] = loaded.fragments[i];
}

}  // namespace codegen::simt

namespace codegen::cuda {

void MultiplyBf16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  simt::Place place) {
  simt::Multiply<simt::WidenBf16>({sum, a, b}, {"MultiplyBf16", place});
}

void MultiplyF16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                 simt::Place place) {
  simt::Multiply<simt::WidenF16>({sum, a, b}, {"MultiplyF16", place});
}

}  // namespace codegen::cuda
