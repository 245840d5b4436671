// SPDX-License-Identifier: Apache-2.0
//
// What the fingerprint of a model needs to know of a row: a hash of its float32 values, the same
// whatever type they are stored in, and whether all are finite.
#ifndef CODEGEN_MODEL_ROW_HASH_H_
#define CODEGEN_MODEL_ROW_HASH_H_

#include <cstdint>
#include <span>

#include "codegen/options.h"

namespace codegen::model {

struct RowHash {
  std::uint64_t hash = 0;  // XXH3_64bits_withSeed of the values as float32
  bool finite = true;
};

RowHash HashRow(std::span<const float> row, std::uint64_t seed);
// Of bits in `stored`. Requires: kF16 or kBf16.
RowHash HashRow(std::span<const std::uint16_t> row, WeightFormat stored, std::uint64_t seed);

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_ROW_HASH_H_
