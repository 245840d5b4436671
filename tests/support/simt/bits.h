// SPDX-License-Identifier: Apache-2.0
//
// Bits and integers: reinterpretation, counting, permutation, wide products.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_BITS_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_BITS_H_

#include <algorithm>
#include <bit>
#include <cstdint>

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }

inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1) << (31 - bit);
  return reversed;
}

// Byte i of the result is the byte of y:x that digit i of the selector names; a digit with its high
// bit set spreads that byte's sign.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned digit = selector >> (4 * i) & 0xF;
    const auto byte = static_cast<unsigned>(bytes >> (8 * (digit & 7)) & 0xFF);
    const unsigned chosen = (digit & 8) == 0 ? byte : (byte & 0x80) != 0 ? 0xFF : 0;
    result |= chosen << (8 * i);
  }
  return result;
}

// The high or low word of high:low after a shift by up to 31 (modulo 32).
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((std::uint64_t{high} << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((std::uint64_t{high} << 32 | low) >> (shift & 31));
}

inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>(std::uint64_t{x} * y >> 32);
}
inline int __mulhi(int x, int y) { return static_cast<int>(std::int64_t{x} * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(x) * y >> 64);
}

// Four products of bytes, added to `sum`.
inline int __dp4a(int x, int y, int sum) {
  auto total = static_cast<unsigned>(sum);
  for (int i = 0; i < 4; ++i)
    total += static_cast<unsigned>(static_cast<std::int8_t>(x >> (8 * i)) *
                                   static_cast<std::int8_t>(y >> (8 * i)));
  return static_cast<int>(total);
}

// Of two numbers of one type.
inline int min(int x, int y) { return std::min(x, y); }
inline int max(int x, int y) { return std::max(x, y); }
inline unsigned min(unsigned x, unsigned y) { return std::min(x, y); }
inline unsigned max(unsigned x, unsigned y) { return std::max(x, y); }
inline long min(long x, long y) { return std::min(x, y); }
inline long max(long x, long y) { return std::max(x, y); }
inline unsigned long min(unsigned long x, unsigned long y) { return std::min(x, y); }
inline unsigned long max(unsigned long x, unsigned long y) { return std::max(x, y); }
inline long long min(long long x, long long y) { return std::min(x, y); }
inline long long max(long long x, long long y) { return std::max(x, y); }
inline unsigned long long min(unsigned long long x, unsigned long long y) { return std::min(x, y); }
inline unsigned long long max(unsigned long long x, unsigned long long y) { return std::max(x, y); }

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_BITS_H_
