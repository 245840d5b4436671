// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/mma.cuh"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <random>
#include <type_traits>

#include "simt/run.h"

namespace codegen::cuda {
namespace {

using simt::RunCorrect;
using simt::RunWrong;

constexpr simt::GridShape kOneWarp{.grid = {1, 1, 1}, .block = {32, 1, 1}, .shared_bytes = 1024};

// Element (row, column) of matrix m holds its own address: 256 m + 16 row + column.
std::uint16_t ElementOf(int matrix, int row, int column) {
  return static_cast<std::uint16_t>(256 * matrix + 16 * row + column);
}

void FillMatrices(int matrices) {
  auto* shared = DynamicShared<std::uint16_t>();
  if (Lane() == 0)
    for (int i = 0; i < matrices * 64; ++i) shared[i] = ElementOf(i / 64, i / 8 % 8, i % 8);
  __syncwarp();
}

template <int kMatrices>
void ExpectFragments(const std::uint32_t (&fragments)[kMatrices], bool transposed) {
  const int r = Lane() / 4;
  const int c = Lane() % 4 * 2;
  for (int m = 0; m < kMatrices; ++m) {
    const auto low = transposed ? ElementOf(m, c, r) : ElementOf(m, r, c);
    const auto high = transposed ? ElementOf(m, c + 1, r) : ElementOf(m, r, c + 1);
    EXPECT_EQ(fragments[m] & 0xFFFF, low) << "matrix " << m << ", lane " << Lane();
    EXPECT_EQ(fragments[m] >> 16, high) << "matrix " << m << ", lane " << Lane();
  }
}

template <int kMatrices>
void ExpectLoads(void (*load)(std::uint32_t (&)[kMatrices], const void*, simt::Place),
                 bool transposed) {
  RunCorrect(
      kOneWarp,
      [&] {
        FillMatrices(kMatrices);
        const bool gives = Lane() < kMatrices * 8;  // the others may give any address
        const auto* row = DynamicShared<std::uint16_t>() + Lane() * 8;
        std::uint32_t fragments[kMatrices];
        load(fragments, gives ? row : nullptr, simt::Place::Here());
        ExpectFragments(fragments, transposed);
      },
      [] {});
}

TEST(LoadMatrix, GivesEachLaneTwoElementsOfARowOfEachMatrix) {
  ExpectLoads<1>(&LoadMatrix1, false);
  ExpectLoads<2>(&LoadMatrix2, false);
  ExpectLoads<4>(&LoadMatrix4, false);
}

TEST(LoadMatrix, TransposesOnRequest) {
  ExpectLoads<1>(&LoadMatrix1Transposed, true);
  ExpectLoads<2>(&LoadMatrix2Transposed, true);
  ExpectLoads<4>(&LoadMatrix4Transposed, true);
}

TEST(LoadMatrix, RefusesRowsThatADeviceRefuses) {
  alignas(16) static std::uint16_t global[256];

  RunWrong(32, "LoadMatrix: the address is not in shared memory", [] {
    std::uint32_t fragments[4];
    LoadMatrix4(fragments, global + Lane() * 8);
  });
  RunWrong(32, "LoadMatrix: the address is no multiple of 16", [] {
    CODEGEN_SHARED(std::uint16_t, rows, 300);
    std::uint32_t fragments[4];
    LoadMatrix4(fragments, rows + Lane() * 8 + 4);
  });
}

// What the lanes of a warp hold of the factors, by the table at the head of mma.cuh.
struct Matrices {
  float a[16][16];
  float b[16][8];
};

template <class T>
std::uint32_t PackPair(float low, float high) {
  const auto bits = [](float x) {
    if constexpr (std::is_same_v<T, __half>)
      return __half_as_ushort(__float2half(x));
    else
      return __bfloat16_as_ushort(__float2bfloat16(x));
  };
  return static_cast<std::uint32_t>(bits(low)) | static_cast<std::uint32_t>(bits(high)) << 16;
}

template <class T>
void ExpectProduct(void (*multiply)(float (&)[4], const std::uint32_t (&)[4],
                                    const std::uint32_t (&)[2], simt::Place),
                   const Matrices& in) {
  float out[16][8] = {};
  RunCorrect(
      kOneWarp,
      [&] {
        const int r = Lane() / 4;
        const int c = Lane() % 4 * 2;
        const std::uint32_t a[4] = {PackPair<T>(in.a[r][c], in.a[r][c + 1]),
                                    PackPair<T>(in.a[r + 8][c], in.a[r + 8][c + 1]),
                                    PackPair<T>(in.a[r][c + 8], in.a[r][c + 9]),
                                    PackPair<T>(in.a[r + 8][c + 8], in.a[r + 8][c + 9])};
        const std::uint32_t b[2] = {PackPair<T>(in.b[c][r], in.b[c + 1][r]),
                                    PackPair<T>(in.b[c + 8][r], in.b[c + 9][r])};
        float sum[4] = {1000, 2000, 3000, 4000};
        multiply(sum, a, b, simt::Place::Here());
        out[r][c] = sum[0] - 1000;
        out[r][c + 1] = sum[1] - 2000;
        out[r + 8][c] = sum[2] - 3000;
        out[r + 8][c + 1] = sum[3] - 4000;
      },
      [&] {
        for (int row = 0; row < 16; ++row) {
          for (int column = 0; column < 8; ++column) {
            float expected = 0;
            for (int k = 0; k < 16; ++k) expected += in.a[row][k] * in.b[k][column];
            ASSERT_EQ(out[row][column], expected) << row << ", " << column;
          }
        }
      });
}

// Small integers, so that every sum is exact in every order.
TEST(Multiply, AddsTheProductOfMatrices) {
  std::mt19937 random(1);
  const auto number = [&] { return static_cast<float>(static_cast<int>(random() % 31) - 15); };
  for (int round = 0; round < 5; ++round) {
    Matrices in;
    for (auto& row : in.a)
      for (float& x : row) x = number();
    for (auto& row : in.b)
      for (float& x : row) x = number();

    ExpectProduct<__nv_bfloat16>(&MultiplyBf16, in);
    ExpectProduct<__half>(&MultiplyF16, in);
  }
}

TEST(Multiply, NeedsAllLanesOfTheWarp) {
  RunWrong(32, "MultiplyBf16", [] {
    float sum[4] = {};
    if (Lane() == 31) return;
    MultiplyBf16(sum, {0, 0, 0, 0}, {0, 0});
  });
  RunWrong(16, "names lane 16, which does not exist", [] {
    CODEGEN_SHARED(std::uint16_t, rows, 256);
    std::uint32_t fragments[4];
    LoadMatrix4(fragments, rows + Lane() * 8);
  });
}

}  // namespace
}  // namespace codegen::cuda
