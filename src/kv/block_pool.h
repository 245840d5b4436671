// SPDX-License-Identifier: Apache-2.0
//
// Blocks of the key-value cache: who holds which, and when a freed one may be written again.
//
// A block is a fixed number of consecutive tokens of one sequence (PagedAttention, Kwon et al.
// 2023). Sequences that share a prefix share its blocks, so each block counts its holders. When the
// last one lets go, the scheduler is done with the block, but the device may not be: a step that
// was sent to it before may still read or write it. So letting go names a fence, the last step that
// may touch the block, and the block is handed out again only after that step was completed. Each
// holder names its own; what counts is the latest.
//
// The generation of a block changes whenever it is handed out. A reader that remembers the
// generation can tell that a block is no longer the one it meant.
#ifndef CODEGEN_KV_BLOCK_POOL_H_
#define CODEGEN_KV_BLOCK_POOL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace codegen::kv {

using BlockId = std::int32_t;
using StepId = std::int64_t;  // steps of the device, counted up from 1

// Not safe for concurrent use.
class BlockPool {
 public:
  // Requires: blocks >= 0.
  explicit BlockPool(int blocks);

  // Hands out a free block whose fence was passed, with one reference. Nothing if there is none.
  std::optional<BlockId> Take();

  // Requires: `block` has a reference.
  void AddReference(BlockId block);

  // Takes a reference away. With the last one the block is free, to be handed out once step `fence`
  // and those that earlier Releases named are completed; 0 names none. Returns whether it was the
  // last. Requires: `block` has a reference.
  bool Release(BlockId block, StepId fence);

  // The device has completed all steps up to `step`. Requires: no less than before.
  void Complete(StepId step);

  int size() const { return static_cast<int>(blocks_.size()); }
  int free() const { return static_cast<int>(ready_.size()); }  // those that Take can hand out now
  int references(BlockId block) const { return at(block).references; }
  std::int64_t generation(BlockId block) const { return at(block).generation; }
  // Whether no step that a Release of `block` named is still to be completed.
  bool passed(BlockId block) const { return at(block).fence <= completed_; }

 private:
  struct Block {
    int references = 0;
    std::int64_t generation = 0;
    StepId fence = 0;
  };
  Block& at(BlockId block) { return blocks_[static_cast<std::size_t>(block)]; }
  const Block& at(BlockId block) const { return blocks_[static_cast<std::size_t>(block)]; }

  std::vector<Block> blocks_;
  std::vector<BlockId> ready_;  // free, fence passed; the last is handed out first
  // Free, fence not passed, in order of release. Fences need not ascend, so Complete looks at all:
  // a device is one or two steps behind, so that is once or twice for each release.
  std::vector<BlockId> waiting_;
  StepId completed_ = 0;
};

}  // namespace codegen::kv

#endif  // CODEGEN_KV_BLOCK_POOL_H_
