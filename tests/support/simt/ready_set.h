// SPDX-License-Identifier: Apache-2.0
//
// The threads of a block that can run: one bit each, because who is next is asked at every switch.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_READY_SET_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_READY_SET_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace codegen::simt {

class ReadySet {
 public:
  static constexpr int kThreads = 1024;  // the most that a block may have
  static constexpr int kNone = -1;

  void Insert(int thread) { WordOf(thread) |= BitOf(thread); }
  void Erase(int thread) { WordOf(thread) &= ~BitOf(thread); }

  // The lowest member from `thread` on; kNone if there is none.
  int AtOrAfter(int thread) const {
    for (int word = thread / 64; word < kThreads / 64; ++word) {
      std::uint64_t bits = words_[static_cast<std::size_t>(word)];
      if (word == thread / 64) bits &= ~std::uint64_t{0} << (thread % 64);
      if (bits != 0) return word * 64 + std::countr_zero(bits);
    }
    return kNone;
  }

  // The same, beginning anew at 0.
  int Cyclic(int thread) const {
    const int found = thread < kThreads ? AtOrAfter(thread) : kNone;
    return found != kNone ? found : AtOrAfter(0);
  }

  // The highest member; kNone if there is none.
  int Last() const {
    for (int word = kThreads / 64 - 1; word >= 0; --word) {
      const std::uint64_t bits = words_[static_cast<std::size_t>(word)];
      if (bits != 0) return word * 64 + 63 - std::countl_zero(bits);
    }
    return kNone;
  }

 private:
  static std::uint64_t BitOf(int thread) { return std::uint64_t{1} << (thread % 64); }
  std::uint64_t& WordOf(int thread) { return words_[static_cast<std::size_t>(thread) / 64]; }

  std::array<std::uint64_t, kThreads / 64> words_{};
};

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_READY_SET_H_
