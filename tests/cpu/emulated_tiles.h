// SPDX-License-Identifier: Apache-2.0
//
// The tile registers of AMX in plain C++, for the loops of cpu/linear_amx.h and attention_amx.h on
// machines without them: each thread has its own, and what the CPU would refuse becomes a complaint
// and does nothing.
//
// Arithmetic is that of Intel's manual: tdpbf16ps fuses the products of even and of odd inputs to a
// chain each, rounds to nearest even and takes denormals as zero.
#ifndef CODEGEN_TESTS_CPU_EMULATED_TILES_H_
#define CODEGEN_TESTS_CPU_EMULATED_TILES_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cpu/tile_config.h"
#include "tensor/half.h"

namespace codegen::cpu {

class EmulatedTiles {
 public:
  static void Configure(const TileConfig& config) {
    State& state = Mine();
    ++state.configurations;
    state.tiles = {};
    state.configured = IsLegal(config);
    if (!state.configured) return Complain("configuration");
    for (std::size_t i = 0; i < kTiles; ++i) {
      state.tiles[i].rows = config.rows[i];
      state.tiles[i].row_bytes = config.row_bytes[i];
    }
  }

  static void Release() {
    Mine().configured = false;
    Mine().tiles = {};
  }

  template <int tile>
  static void Zero() {
    if (InUse(tile)) At(tile).bytes = {};
  }

  template <int tile>
  static void Load(const std::byte* first, std::int64_t stride) {
    if (!InUse(tile)) return;
    Tile& t = At(tile);
    t.bytes = {};
    for (std::size_t row = 0; row < t.rows; ++row)
      std::memcpy(t.bytes[row].data(), first + static_cast<std::int64_t>(row) * stride,
                  t.row_bytes);
  }

  template <int tile>
  static void Store(std::byte* first, std::int64_t stride) {
    if (!InUse(tile)) return;
    const Tile& t = At(tile);
    for (std::size_t row = 0; row < t.rows; ++row)
      std::memcpy(first + static_cast<std::int64_t>(row) * stride, t.bytes[row].data(),
                  t.row_bytes);
  }

  template <int c, int a, int b>
  static void AddInt8Product() {
    AddProduct<std::int32_t>(c, a, b, [](std::int32_t sum, const Line& row, const Tile& w, auto n) {
      for (std::size_t k = 0; k < w.rows; ++k) {
        for (std::size_t i = 0; i < 4; ++i)
          sum += Get<std::int8_t>(row, 4 * k + i) * Get<std::uint8_t>(w.bytes[k], 4 * n + i);
      }
      return sum;
    });
  }

  template <int c, int a, int b>
  static void AddBf16Product() {
    AddProduct<float>(c, a, b, [](float sum, const Line& row, const Tile& w, auto n) {
      std::array<float, 2> chains = {};
      for (std::size_t k = 0; k < w.rows; ++k) {
        for (std::size_t i = 0; i < 2; ++i)
          chains[i] =
              Flushed(std::fma(Bf16(row, 2 * k + i), Bf16(w.bytes[k], 2 * n + i), chains[i]));
      }
      return Flushed(sum + Flushed(chains[0] + chains[1]));
    });
  }

  // What this thread's tiles were asked in vain since the last call.
  static std::vector<std::string> TakeComplaints() { return std::exchange(Mine().complaints, {}); }
  static bool IsConfigured() { return Mine().configured; }
  static int TakeConfigurations() { return std::exchange(Mine().configurations, 0); }

 private:
  using Line = std::array<std::byte, kTileRowBytes>;

  struct Tile {
    std::size_t rows = 0;
    std::size_t row_bytes = 0;
    std::array<Line, kTileHeight> bytes = {};
  };

  struct State {
    bool configured = false;
    int configurations = 0;
    std::array<Tile, kTiles> tiles;
    std::vector<std::string> complaints;
  };

  static State& Mine() {
    static thread_local State state;
    return state;
  }
  static Tile& At(int tile) { return Mine().tiles[static_cast<std::size_t>(tile)]; }

  static void Complain(const std::string& what) { Mine().complaints.push_back(what); }

  static bool IsLegal(const TileConfig& config) {
    if (config.palette != 1 || config.start_row != 0) return false;
    if (std::ranges::any_of(config.reserved, [](std::uint8_t byte) { return byte != 0; }))
      return false;
    for (std::size_t i = 0; i < config.rows.size(); ++i) {
      if ((config.rows[i] == 0) != (config.row_bytes[i] == 0)) return false;
      if (config.rows[i] > (i < kTiles ? kTileHeight : 0)) return false;
      if (config.row_bytes[i] > kTileRowBytes) return false;
    }
    return true;
  }

  static bool InUse(int tile) {
    if (At(tile).rows > 0) return true;
    Complain("tile " + std::to_string(tile) + " is not configured");
    return false;
  }

  template <class Sum, class Add>
  static void AddProduct(int c, int a, int b, const Add& add) {
    if (!InUse(c) || !InUse(a) || !InUse(b)) return;
    if (c == a || a == b || b == c) return Complain("a product of a tile with itself");
    Tile& sums = At(c);
    const Tile& x = At(a);
    const Tile& w = At(b);
    if (sums.rows != x.rows || sums.row_bytes != w.row_bytes || x.row_bytes != 4 * w.rows ||
        sums.row_bytes % 4 != 0)
      return Complain("shapes of a product");
    for (std::size_t m = 0; m < sums.rows; ++m) {
      for (std::size_t n = 0; n < sums.row_bytes / 4; ++n)
        Set(add(Get<Sum>(sums.bytes[m], n), x.bytes[m], w, n), sums.bytes[m], n);
    }
  }

  template <class T>
  static T Get(const Line& line, std::size_t i) {
    T value;
    std::memcpy(&value, line.data() + i * sizeof(T), sizeof(T));
    return value;
  }
  template <class T>
  static void Set(T value, Line& line, std::size_t i) {
    std::memcpy(line.data() + i * sizeof(T), &value, sizeof(T));
  }

  static float Flushed(float value) {
    const bool denormal = std::abs(value) < std::numeric_limits<float>::min();
    return denormal ? std::copysign(0.0F, value) : value;
  }
  static float Bf16(const Line& line, std::size_t i) {
    return Flushed(tensor::FloatFromBf16(Get<std::uint16_t>(line, i)));
  }
};

}  // namespace codegen::cpu

#endif  // CODEGEN_TESTS_CPU_EMULATED_TILES_H_
