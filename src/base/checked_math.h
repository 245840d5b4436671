// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on numbers that a file claims. Sizes and offsets are int64_t everywhere; a sum or
// product that leaves 64 bits is nothing instead of a small number that passes the next check.
#ifndef CODEGEN_BASE_CHECKED_MATH_H_
#define CODEGEN_BASE_CHECKED_MATH_H_

#include <cstdint>
#include <limits>
#include <optional>

namespace codegen::base {

inline std::optional<std::int64_t> CheckedAdd(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<std::int64_t> CheckedMul(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Returns `value` unless it is above 2^63 - 1.
inline std::optional<std::int64_t> CheckedSigned(std::uint64_t value) {
  if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

}  // namespace codegen::base

#endif  // CODEGEN_BASE_CHECKED_MATH_H_
