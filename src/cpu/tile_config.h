// SPDX-License-Identifier: Apache-2.0
//
// What AMX is told about its eight tile registers before it works with them. A tile is `rows` rows
// of `row_bytes` bytes, at most 16 of 64. A product adds a [m rows] times b [n lines] to c [m
// rows]: a row of `a` is 64 bytes of an activation, line j of `b` holds the j-th dword of 16
// outputs, c has a dword per row and output.
#ifndef CODEGEN_CPU_TILE_CONFIG_H_
#define CODEGEN_CPU_TILE_CONFIG_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace codegen::cpu {

inline constexpr int kTiles = 8;
inline constexpr int kTileHeight = 16;  // rows, at most
inline constexpr int kTileRowBytes = 64;

// As `ldtilecfg` reads it.
struct TileConfig {
  std::uint8_t palette = 1;  // eight tiles of 1 KiB, the only one there is
  std::uint8_t start_row = 0;
  std::array<std::uint8_t, 14> reserved = {};
  std::array<std::uint16_t, 16> row_bytes = {};  // of those beyond kTiles: 0
  std::array<std::uint8_t, 16> rows = {};
};
static_assert(sizeof(TileConfig) == 64);

// Calls visit.operator()<tile>() for each tile in [0, count).
template <int count, class Visit>
void ForEachTile(const Visit& visit) {
  [&visit]<int... tile>(std::integer_sequence<int, tile...>) {
    (visit.template operator()<tile>(), ...);
  }
  (std::make_integer_sequence<int, count>());
}

// The part of each tile in a product of `rows` <= 32 rows of activations: tiles 0 to 3 are sums, 4
// and 5 rows of activations, 6 and 7 weights. Up to 16 rows all sums are of the same rows (of four
// panels); beyond, tiles 0, 1 and 4 are of the first 16, and 2, 3 and 5 of the rest.
constexpr TileConfig ConfigFor(int rows) {
  const auto upper = static_cast<std::uint8_t>(std::min(rows, kTileHeight));
  const auto lower = static_cast<std::uint8_t>(rows > kTileHeight ? rows - kTileHeight : rows);
  TileConfig config;
  std::fill_n(config.row_bytes.begin(), kTiles, std::uint16_t{kTileRowBytes});
  config.rows = {upper, upper, lower, lower, upper, lower, kTileHeight, kTileHeight};
  return config;
}

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_TILE_CONFIG_H_
