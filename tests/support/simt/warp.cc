// SPDX-License-Identifier: Apache-2.0
#include "support/simt/warp.h"

#include <cstddef>

#include "support/simt/block.h"

namespace codegen::simt {
namespace {

void FinishNothing(const Block::Lanes& /*lanes*/, unsigned /*mask*/) {}

}  // namespace

// Each lane brings its own bit, or none.
unsigned Ballot(unsigned mask, bool vote, const Block::Stop& stop) {
  const unsigned bit = vote ? 1U << CurrentBlock().lane() : 0;
  return Reduce<unsigned, EitherBits>(mask, bit, stop);
}

}  // namespace codegen::simt

void __syncwarp(unsigned mask, codegen::simt::Place place) {
  using codegen::simt::Block;
  codegen::simt::CurrentBlock().Meet(mask, nullptr, &codegen::simt::FinishNothing,
                                     Block::Memory::kOrdered, {"__syncwarp", place});
}
