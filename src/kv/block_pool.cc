// SPDX-License-Identifier: Apache-2.0
#include "kv/block_pool.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "base/check.h"

namespace codegen::kv {

BlockPool::BlockPool(int blocks) : blocks_(static_cast<std::size_t>(blocks)) {
  ready_.reserve(blocks_.size());
  waiting_.reserve(blocks_.size());
  for (BlockId block = blocks - 1; block >= 0; --block) ready_.push_back(block);
}

std::optional<BlockId> BlockPool::Take() {
  if (ready_.empty()) return std::nullopt;
  const BlockId block = ready_.back();
  ready_.pop_back();
  CODEGEN_DCHECK(references(block) == 0 && passed(block));
  at(block).references = 1;
  ++at(block).generation;
  return block;
}

void BlockPool::AddReference(BlockId block) {
  CODEGEN_DCHECK(references(block) > 0);
  ++at(block).references;
}

bool BlockPool::Release(BlockId block, StepId fence) {
  CODEGEN_DCHECK(references(block) > 0);
  at(block).fence = std::max(at(block).fence, fence);
  if (--at(block).references > 0) return false;
  (passed(block) ? ready_ : waiting_).push_back(block);
  return true;
}

void BlockPool::Complete(StepId step) {
  CODEGEN_DCHECK(step >= completed_);
  completed_ = step;
  std::erase_if(waiting_, [this](BlockId block) {
    if (!passed(block)) return false;
    ready_.push_back(block);
    return true;
  });
}

}  // namespace codegen::kv
