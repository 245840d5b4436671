// SPDX-License-Identifier: Apache-2.0
//
// What becomes of the sums of a tile of Linear (linear.h): plus bias, then into y. One expression
// for every kernel of a format, so that the bits agree whichever ran.
#if defined(CODEGEN_CPU_FINISH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CODEGEN_CPU_FINISH_INL_H_
#undef CODEGEN_CPU_FINISH_INL_H_
#else
#define CODEGEN_CPU_FINISH_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "cpu/linear.h"
#include "cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

// Calls product(row, place, o) for each vector of outputs of a tile, place being where its sums lie
// in the tile's memory (in elements), and adds bias to what it returns.
template <class Product>
HWY_INLINE void ForEachOutput(const LinearArgs& args, const LinearBlock& tile,
                              const Product& product) {
  const F f;
  const std::int64_t first = tile.first_panel * kLine;
  const std::int64_t last = std::min(tile.last_panel, args.panel_count) * kLine;
  const std::int64_t stride = (tile.last_panel - tile.first_panel) * kLine;
  for (std::int64_t row = tile.first_row; row < tile.last_row; ++row) {
    float* y = args.y + row * args.y_stride;
    const std::int64_t place = (row - tile.first_row) * stride - first;
    for (std::int64_t o = first; o < last; o += kLanes) {
      const V p = hn::Add(product(row, place + o, o), hn::Load(f, args.bias + o));
      switch (args.then) {
        case backend::Then::kStore:
          hn::Store(p, f, y + o);
          break;
        case backend::Then::kAdd:
          hn::Store(hn::Add(hn::Load(f, y + o), p), f, y + o);
          break;
        case backend::Then::kGelu:
          hn::Store(Gelu(p), f, y + o);
          break;
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#endif  // CODEGEN_CPU_FINISH_INL_H_
