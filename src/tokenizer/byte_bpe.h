// SPDX-License-Identifier: Apache-2.0
//
// Byte-pair encoding of one piece of text: start with a token per byte; as long as two neighbours
// can merge, merge the pair of lowest rank, the leftmost of equals.
//
// Both published kinds are this one algorithm. Hugging Face's and GPT-2's merges.txt ranks a pair
// by its line. tiktoken merges any two neighbours whose bytes together are a token and ranks them
// by that token's id: enumerate, for every token, the ways to cut it in two tokens, and it is a
// list of merges too.
//
// Short pieces, which almost all are, use a plain search for the lowest rank: at most 64 bytes, so
// quadratic is cheaper than clever. Longer ones use a linked list and a heap of (rank, position),
// O(n log n): a megabyte of one letter is one piece, and was a denial of service elsewhere.
#ifndef CODEGEN_TOKENIZER_BYTE_BPE_H_
#define CODEGEN_TOKENIZER_BYTE_BPE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "codegen/request.h"

namespace codegen::tokenizer {

// `left` and `right`, side by side, may become `result`. A lower rank goes first.
struct Merge {
  TokenId left;
  TokenId right;
  TokenId result;
  std::uint32_t rank;
};

// The rank of each pair of tokens: a hash table of 64-bit words, left (20 bits), right (20), rank
// (24), so that GPT-2's 50,000 merges take one megabyte.
class PairRanks {
 public:
  static constexpr std::uint32_t kNone = (1U << 24) - 1;
  static constexpr int kIdBits = 20;  // Limits::vocabulary

  explicit PairRanks(std::size_t pairs);

  enum class Inserted { kYes, kPresent, kCrowded };  // as of PieceTable
  // Requires: ids below 2^20, rank below kNone, no more pairs than announced.
  Inserted Insert(TokenId left, TokenId right, std::uint32_t rank);

  // Returns the rank of the pair, kNone if it does not merge.
  std::uint32_t Find(TokenId left, TokenId right) const {
    const std::uint64_t key = Key(left, right);
    for (std::size_t at = Start(key);; at = (at + 1) & mask_) {
      const std::uint64_t slot = slots_[at];
      if (slot >> kRankBits == key) return static_cast<std::uint32_t>(slot & kNone);
      if (slot == kEmpty) return kNone;
    }
  }

 private:
  static constexpr int kRankBits = 24;
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};

  static std::uint64_t Key(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(left) << kIdBits | static_cast<std::uint64_t>(right);
  }
  std::size_t Start(std::uint64_t key) const {
    return static_cast<std::size_t>(key * 0x9E3779B97F4A7C15ULL >> shift_);
  }

  std::vector<std::uint64_t> slots_;
  std::size_t mask_;
  int shift_;
};

// Immutable; safe for concurrent use.
class ByteBpe {
 public:
  // `byte_ids[b]` is the token of byte b; `result_of_rank` [ranks] the token that a merge of each
  // rank makes. Requires: every rank in `ranks` indexes it.
  ByteBpe(const std::array<TokenId, 256>& byte_ids, PairRanks ranks,
          std::vector<TokenId> result_of_rank);

  // Appends the tokens of `piece` to `out`.
  void Encode(std::string_view piece, std::vector<TokenId>& out) const;

 private:
  static constexpr std::size_t kShortPiece = 64;

  void EncodeShort(std::string_view piece, std::vector<TokenId>& out) const;
  void EncodeLong(std::string_view piece, std::vector<TokenId>& out) const;
  TokenId IdOfByte(char byte) const { return byte_ids_[static_cast<unsigned char>(byte)]; }

  std::array<TokenId, 256> byte_ids_;
  PairRanks ranks_;
  std::vector<TokenId> result_of_rank_;
};

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_BYTE_BPE_H_
