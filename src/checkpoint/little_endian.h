// SPDX-License-Identifier: Apache-2.0
//
// Integers as all formats of this folder store them: least significant byte first.
#ifndef CODEGEN_CHECKPOINT_LITTLE_ENDIAN_H_
#define CODEGEN_CHECKPOINT_LITTLE_ENDIAN_H_

#include <concepts>
#include <cstddef>
#include <string_view>

#include "base/check.h"

namespace codegen::checkpoint {

// Returns the integer at byte `at` of `bytes`.
// Requires: at + sizeof(T) <= bytes.size().
template <std::unsigned_integral T>
T LittleEndian(std::string_view bytes, std::size_t at) {
  CODEGEN_DCHECK(at + sizeof(T) <= bytes.size());
  T value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;)
    value = static_cast<T>((value << 8) | static_cast<unsigned char>(bytes[at + i]));
  return value;
}

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_LITTLE_ENDIAN_H_
