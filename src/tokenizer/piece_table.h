// SPDX-License-Identifier: Apache-2.0
//
// A hash table from byte strings to token ids, built once and then only read: the question asked
// for every piece of every text. Open addressing over 16-byte slots that hold a 32-bit tag of the
// hash, so that a miss almost never touches the strings; they lie one after another in one buffer.
#ifndef CODEGEN_TOKENIZER_PIECE_TABLE_H_
#define CODEGEN_TOKENIZER_PIECE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/request.h"

namespace codegen::tokenizer {

// Safe for concurrent use once it is no longer inserted into.
class PieceTable {
 public:
  PieceTable();

  enum class Inserted {
    kYes,
    kPresent,  // `bytes` is there already; nothing changed
    kCrowded,  // so many strings share its hash that they were made to; nothing changed
  };

  // Requires: all strings together are below 4 GiB.
  Inserted Insert(std::string_view bytes, TokenId id);

  std::optional<TokenId> Find(std::string_view bytes) const;

 private:
  struct Slot {
    std::uint32_t tag = 0;
    TokenId id = -1;  // -1: empty
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };

  // Returns the slot that holds `bytes`, or the empty one where it belongs.
  std::size_t SlotOf(std::string_view bytes, std::uint32_t tag) const;
  bool Crowded(std::size_t slot, std::uint32_t tag) const;
  void Grow();

  std::vector<Slot> slots_;  // a power of two, at most half of them used
  std::size_t used_ = 0;
  std::size_t longest_ = 0;
  std::string bytes_;
};

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_PIECE_TABLE_H_
