// SPDX-License-Identifier: Apache-2.0
#include "kv/paged_memory.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"

namespace codegen::kv {

PagedMemory::PagedMemory(const PagedMemoryOptions& options)
    : block_tokens_(options.cache.block_tokens),
      pool_(options.blocks),
      cache_(pool_, options.cache),
      keeps_(options.cache.quota > 0) {}

int PagedMemory::Adopt(const std::string& salt, std::span<const TokenId> tokens,
                       BlockTable& table) {
  CODEGEN_DCHECK(table.blocks.empty());
  PrefixCache::Match match = cache_.Find(salt, tokens);
  table.blocks = std::move(match.blocks);
  table.kept = static_cast<int>(table.blocks.size());
  table.last_kept = match.last;
  return table.kept * block_tokens_;
}

int PagedMemory::Share(const BlockTable& other, int tokens, BlockTable& table) {
  CODEGEN_DCHECK(table.blocks.empty());
  const int blocks = tokens / block_tokens_;
  CODEGEN_DCHECK(static_cast<std::size_t>(blocks) <= other.blocks.size());
  table.blocks.assign(other.blocks.begin(), other.blocks.begin() + blocks);
  for (const BlockId block : table.blocks) pool_.AddReference(block);
  // Which entry a kept block before the last belongs to is not known here; then Keep, which begins
  // at the first block, finds out.
  if (other.kept <= blocks) {
    table.kept = other.kept;
    table.last_kept = other.last_kept;
  }
  return blocks * block_tokens_;
}

bool PagedMemory::Grow(int tokens, BlockTable& table) {
  const int missing = BlocksFor(tokens) - static_cast<int>(table.blocks.size());
  if (missing > available()) return false;
  for (int i = 0; i < missing; ++i) table.blocks.push_back(Win());
  return true;
}

BlockId PagedMemory::Win() {
  if (pool_.free() == 0) cache_.Evict();
  const std::optional<BlockId> block = pool_.Take();
  CODEGEN_DCHECK(block.has_value());
  return *block;
}

void PagedMemory::Keep(const std::string& salt, std::span<const TokenId> tokens,
                       BlockTable& table) {
  if (!keeps_) return;
  const auto block_tokens = static_cast<std::size_t>(block_tokens_);
  const int full = static_cast<int>(tokens.size() / block_tokens);
  CODEGEN_DCHECK(static_cast<std::size_t>(full) <= table.blocks.size());
  while (table.kept < full) {
    const auto at = static_cast<std::size_t>(table.kept);
    const EntryId entry = cache_.Insert(
        salt, table.last_kept, tokens.subspan(at * block_tokens, block_tokens), table.blocks[at]);
    if (entry == kNoEntry) return;
    table.last_kept = entry;
    ++table.kept;
  }
}

void PagedMemory::Release(BlockTable& table, StepId fence) {
  for (; !table.blocks.empty(); table.blocks.pop_back()) cache_.Release(table.blocks.back(), fence);
  table.kept = 0;
  table.last_kept = kNoEntry;
}

int PagedMemory::BlocksFor(int tokens) const {
  return tokens / block_tokens_ + (tokens % block_tokens_ > 0 ? 1 : 0);
}

}  // namespace codegen::kv
