// SPDX-License-Identifier: Apache-2.0
//
// Lists of blocks that need no memory of their own: the links lie in one array with a place for
// each block, so entering, leaving from the middle and moving are O(1) and allocate nothing.
#ifndef CODEGEN_KV_BLOCK_LIST_H_
#define CODEGEN_KV_BLOCK_LIST_H_

#include <cstddef>
#include <vector>

#include "kv/block_pool.h"

namespace codegen::kv {

inline constexpr BlockId kNoBlock = -1;

struct BlockLink {
  BlockId previous = kNoBlock;
  BlockId next = kNoBlock;
};
using BlockLinks = std::vector<BlockLink>;

// Lists may share `links`; a block then lies in one of them at a time.
class BlockList {
 public:
  // Requires: `block` lies in no list of `links`.
  void PushBack(BlockLinks& links, BlockId block) {
    At(links, block) = {.previous = last_, .next = kNoBlock};
    NextOf(links, last_) = block;
    last_ = block;
    ++size_;
  }

  // Requires: `block` lies in this list.
  void Remove(BlockLinks& links, BlockId block) {
    const BlockLink link = At(links, block);
    NextOf(links, link.previous) = link.next;
    (link.next == kNoBlock ? last_ : At(links, link.next).previous) = link.previous;
    --size_;
  }

  BlockId first() const { return first_; }  // kNoBlock if empty
  int size() const { return size_; }

 private:
  static BlockLink& At(BlockLinks& links, BlockId block) {
    return links[static_cast<std::size_t>(block)];
  }
  BlockId& NextOf(BlockLinks& links, BlockId block) {
    return block == kNoBlock ? first_ : At(links, block).next;
  }

  BlockId first_ = kNoBlock;
  BlockId last_ = kNoBlock;
  int size_ = 0;
};

}  // namespace codegen::kv

#endif  // CODEGEN_KV_BLOCK_LIST_H_
