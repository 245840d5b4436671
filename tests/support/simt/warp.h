// SPDX-License-Identifier: Apache-2.0
//
// The collectives of a warp.
//
// None of them but __syncwarp orders memory, as on a device: a kernel that reads what another lane
// wrote to memory, with only a shuffle between, has a race.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_WARP_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_WARP_H_

#include <cstddef>
#include <type_traits>

#include "support/simt/block.h"
#include "support/simt/sanitizers.h"

namespace codegen::simt {

template <class T>
struct Shuffled {
  T mine;
  T theirs;
  int source;  // a lane
};

// Copies to every lane the value of its source; a source outside the mask gives the lane its own,
// where a device gives anything.
template <class T>
void FinishShuffle(const Block::Lanes& lanes, unsigned mask) {
  const auto at = [&](int lane) {
    return static_cast<Shuffled<T>*>(lanes[static_cast<std::size_t>(lane)]);
  };
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const int source = at(lane)->source;
    at(lane)->theirs = (mask >> source & 1) != 0 ? at(source)->mine : at(lane)->mine;
  }
}

template <class T>
T Shuffle(unsigned mask, T value, int source, const Block::Stop& stop) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  Shuffled<T> shuffled{value, value, source};
  CurrentBlock().Meet(mask, &shuffled, &FinishShuffle<T>, Block::Memory::kUnordered, stop);
  return shuffled.theirs;
}

// The first lane of the calling lane's group of `width` (a power of two).
inline int GroupStart(int width) { return CurrentBlock().lane() & ~(width - 1); }

// The values that the lanes of `mask` bring, folded into one that all get.
template <class T, T (*kFold)(T, T)>
void FinishReduction(const Block::Lanes& lanes, unsigned mask) {
  T result{};
  bool first = true;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const T value = *static_cast<T*>(lanes[static_cast<std::size_t>(lane)]);
    result = first ? value : kFold(result, value);
    first = false;
  }
  for (int lane = 0; lane < kWarpLanes; ++lane)
    if ((mask >> lane & 1) != 0) *static_cast<T*>(lanes[static_cast<std::size_t>(lane)]) = result;
}

template <class T, T (*kFold)(T, T)>
T Reduce(unsigned mask, T value, const Block::Stop& stop) {
  CurrentBlock().Meet(mask, &value, &FinishReduction<T, kFold>, Block::Memory::kUnordered, stop);
  return value;
}

unsigned Ballot(unsigned mask, bool vote, const Block::Stop& stop);

template <class T>
void FinishMatch(const Block::Lanes& lanes, unsigned mask) {
  const auto at = [&](int lane) {
    return static_cast<Shuffled<T>*>(lanes[static_cast<std::size_t>(lane)]);
  };
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    unsigned same = 0;
    for (int other = 0; other < kWarpLanes; ++other)
      if ((mask >> other & 1) != 0 && at(other)->mine == at(lane)->mine) same |= 1U << other;
    at(lane)->source = static_cast<int>(same);
  }
}

// The lanes of `mask` that brought the same value.
template <class T>
unsigned Match(unsigned mask, T value, const Block::Stop& stop) {
  Shuffled<T> matched{value, value, 0};
  CurrentBlock().Meet(mask, &matched, &FinishMatch<T>, Block::Memory::kUnordered, stop);
  return static_cast<unsigned>(matched.source);
}

template <class T>
T Sum(T a, T b) {
  return a + b;
}
template <class T>
T Least(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T Greatest(T a, T b) {
  return a < b ? b : a;
}
inline unsigned BothBits(unsigned a, unsigned b) { return a & b; }
inline unsigned EitherBits(unsigned a, unsigned b) { return a | b; }
inline unsigned UnequalBits(unsigned a, unsigned b) { return a ^ b; }

}  // namespace codegen::simt

void __syncwarp(unsigned mask = ~0U, codegen::simt::Place place = codegen::simt::Place::Here());

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              codegen::simt::Place place = codegen::simt::Place::Here()) {
  const int source = codegen::simt::GroupStart(width) + (lane & (width - 1));
  return codegen::simt::Shuffle(mask, value, source, {"__shfl_sync", place});
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  codegen::simt::Place place = codegen::simt::Place::Here()) {
  const int own = codegen::simt::CurrentBlock().lane();
  const int source = own ^ lanes;
  const bool beyond = source >= codegen::simt::GroupStart(width) + width;
  return codegen::simt::Shuffle(mask, value, beyond ? own : source, {"__shfl_xor_sync", place});
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32,
                   codegen::simt::Place place = codegen::simt::Place::Here()) {
  const int own = codegen::simt::CurrentBlock().lane();
  const int source = own + static_cast<int>(lanes);
  const bool beyond = source >= codegen::simt::GroupStart(width) + width;
  return codegen::simt::Shuffle(mask, value, beyond ? own : source, {"__shfl_down_sync", place});
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32,
                 codegen::simt::Place place = codegen::simt::Place::Here()) {
  const int own = codegen::simt::CurrentBlock().lane();
  const int source = own - static_cast<int>(lanes);
  const bool beyond = source < codegen::simt::GroupStart(width);
  return codegen::simt::Shuffle(mask, value, beyond ? own : source, {"__shfl_up_sync", place});
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Ballot(mask, predicate != 0, {"__ballot_sync", place});
}

inline int __any_sync(unsigned mask, int predicate,
                      codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Ballot(mask, predicate != 0, {"__any_sync", place}) != 0 ? 1 : 0;
}

inline int __all_sync(unsigned mask, int predicate,
                      codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Ballot(mask, predicate != 0, {"__all_sync", place}) == mask ? 1 : 0;
}

// A device promises no more than that the calling lane is active, and so does this.
inline unsigned __activemask() { return 1U << codegen::simt::CurrentBlock().lane(); }

template <class T>
unsigned __match_any_sync(unsigned mask, T value,
                          codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Match(mask, value, {"__match_any_sync", place});
}

template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* all,
                          codegen::simt::Place place = codegen::simt::Place::Here()) {
  *all = codegen::simt::Match(mask, value, {"__match_all_sync", place}) == mask ? 1 : 0;
  return *all != 0 ? mask : 0;
}

// T: int or unsigned.
template <class T>
T __reduce_add_sync(unsigned mask, T value,
                    codegen::simt::Place place = codegen::simt::Place::Here()) {
  return static_cast<T>(codegen::simt::Reduce<unsigned, codegen::simt::Sum<unsigned>>(
      mask, static_cast<unsigned>(value), {"__reduce_add_sync", place}));
}

template <class T>
T __reduce_min_sync(unsigned mask, T value,
                    codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Reduce<T, codegen::simt::Least<T>>(mask, value,
                                                           {"__reduce_min_sync", place});
}

template <class T>
T __reduce_max_sync(unsigned mask, T value,
                    codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Reduce<T, codegen::simt::Greatest<T>>(mask, value,
                                                              {"__reduce_max_sync", place});
}

inline unsigned __reduce_and_sync(unsigned mask, unsigned value,
                                  codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Reduce<unsigned, codegen::simt::BothBits>(mask, value,
                                                                  {"__reduce_and_sync", place});
}

inline unsigned __reduce_or_sync(unsigned mask, unsigned value,
                                 codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Reduce<unsigned, codegen::simt::EitherBits>(mask, value,
                                                                    {"__reduce_or_sync", place});
}

inline unsigned __reduce_xor_sync(unsigned mask, unsigned value,
                                  codegen::simt::Place place = codegen::simt::Place::Here()) {
  return codegen::simt::Reduce<unsigned, codegen::simt::UnequalBits>(mask, value,
                                                                     {"__reduce_xor_sync", place});
}

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_WARP_H_
