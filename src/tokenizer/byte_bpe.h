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
// Short pieces, which almost all are, use a plain search for the lowest rank: quadratic, but in at
// most 128 bytes that is cheaper than clever. A megabyte of one letter is one piece too, and was a
// denial of service elsewhere. Long pieces go through windows of some 100 bytes, thanks to this:
//
//   Tokens t1 t2 ... tn are the encoding of their bytes if and only if for each two neighbours,
//   ti ti+1 is the encoding of theirs.
//
// For take the first merge of the whole piece that crosses from some ti into ti+1. Until then, what
// happened inside ti ti+1 is exactly what happens when they are encoded alone, merge for merge:
// each pick was the lowest of all, so the lowest of those two. The crossing merge is then picked
// there as well, and ti ti+1 is not their encoding. The converse is the same argument read
// backwards. Neither half asks anything of the ranks, so it holds for any file.
//
// So encode the next bytes together with the last few tokens, look whether the first of the new
// tokens fits its left neighbour, and take back more if it does not. A vocabulary made so that
// nothing fits is met by a budget, after which a linked list and a heap of (rank, position) encode
// the whole piece in O(n log n).
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
  // rank makes; `size_of_id` [ids] the bytes of each token.
  ByteBpe(const std::array<TokenId, 256>& byte_ids, PairRanks ranks,
          std::vector<TokenId> result_of_rank, std::vector<std::uint16_t> size_of_id);

  // Appends the tokens of `piece` to `out`.
  void Encode(std::string_view piece, std::vector<TokenId>& out) const;

  // The same without windows, for pieces of any size: what Encode falls back to.
  void EncodeWhole(std::string_view piece, std::vector<TokenId>& out) const;

 private:
  static constexpr std::size_t kShortPiece = 128;

  // Requires: at most kShortPiece bytes.
  void EncodeShort(std::string_view piece, std::vector<TokenId>& out) const;
  void EncodeByHeap(std::string_view piece, std::vector<TokenId>& out) const;

  // Appends the tokens of `piece` to `out`, or returns false, having spent its budget.
  bool EncodeByWindows(std::string_view piece, std::vector<TokenId>& out) const;
  // Returns whether the tokens that meet at `piece[at]` are the encoding of their bytes.
  bool Fit(std::string_view piece, std::size_t at, TokenId left, TokenId right) const;

  TokenId IdOfByte(char byte) const { return byte_ids_[static_cast<unsigned char>(byte)]; }
  std::size_t SizeOf(TokenId id) const { return size_of_id_[static_cast<std::size_t>(id)]; }

  std::array<TokenId, 256> byte_ids_;
  PairRanks ranks_;
  std::vector<TokenId> result_of_rank_;
  std::vector<std::uint16_t> size_of_id_;
};

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_BYTE_BPE_H_
