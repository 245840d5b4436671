// SPDX-License-Identifier: Apache-2.0
//
// The table of entries is chained through the entries themselves: their number is bounded by that
// of the blocks, so it never grows, and removing one leaves no tombstone behind.
#include "kv/prefix_cache.h"

#include <absl/hash/hash.h>
#include <absl/types/span.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"

namespace codegen::kv {

PrefixCache::PrefixCache(BlockPool& pool, PrefixCacheOptions options)
    : pool_(pool), options_(std::move(options)) {
  CODEGEN_DCHECK(options_.block_tokens > 0 && options_.quota >= 0);
  const auto blocks = static_cast<std::size_t>(pool.size());
  entries_.resize(blocks);
  tokens_.resize(blocks * static_cast<std::size_t>(options_.block_tokens));
  idle_links_.resize(blocks);
  salt_links_.resize(blocks);
  buckets_.resize(std::bit_ceil(blocks), kNoBlock);
}

PrefixCache::Match PrefixCache::Find(const std::string& salt, std::span<const TokenId> tokens) {
  Match match;
  const auto found = salts_.find(salt);
  if (found == salts_.end()) return match;

  const auto block_tokens = static_cast<std::size_t>(options_.block_tokens);
  EntryId parent = found->second.root;
  for (; tokens.size() >= block_tokens; tokens = tokens.subspan(block_tokens)) {
    const BlockId block = Lookup(MakeKey(parent, tokens.first(block_tokens)));
    if (block == kNoBlock) break;
    Hold(block);
    match.blocks.push_back(block);
    match.last = parent = at(block).id;
  }
  return match;
}

EntryId PrefixCache::Insert(const std::string& salt, EntryId parent,
                            std::span<const TokenId> tokens, BlockId block) {
  CODEGEN_DCHECK(options_.quota > 0 && pool_.references(block) > 0);
  CODEGEN_DCHECK(tokens.size() == static_cast<std::size_t>(options_.block_tokens));
  if (parent != kNoEntry && !Alive(parent)) return kNoEntry;

  Salts::value_type& home = FindOrAddSalt(salt);
  const Key key = MakeKey(parent == kNoEntry ? home.second.root : parent, tokens);
  const BlockId same = Lookup(key);
  if (same != kNoBlock) return at(same).id;
  if (at(block).id != kNoEntry) return kNoEntry;
  Enter(home, key, block);
  return at(block).id;
}

void PrefixCache::Release(BlockId block, StepId fence) {
  pool_.Release(block, fence);
  if (at(block).id == kNoEntry || pool_.references(block) > 1) return;
  BecomeIdle(block);
  const BlockList& idle = at(block).salt->second.idle;
  if (idle.size() > options_.quota) GiveUp(idle.first());
}

void PrefixCache::Complete(StepId step) {
  pool_.Complete(step);
  for (BlockId block = waiting_.first(), next = kNoBlock; block != kNoBlock; block = next) {
    next = idle_links_[static_cast<std::size_t>(block)].next;
    if (!pool_.passed(block)) continue;
    waiting_.Remove(idle_links_, block);
    ready_.PushBack(idle_links_, block);
    at(block).waiting = false;
  }
}

bool PrefixCache::Evict() {
  if (ready_.size() == 0) return false;
  GiveUp(ready_.first());
  return true;
}

std::span<TokenId> PrefixCache::TokensOf(BlockId block) {
  const auto block_tokens = static_cast<std::size_t>(options_.block_tokens);
  return std::span(tokens_).subspan(static_cast<std::size_t>(block) * block_tokens, block_tokens);
}

EntryId PrefixCache::NewIdentity(BlockId block) {
  return ++identities_ * (pool_.size() + 1) + block - kNoBlock;
}

bool PrefixCache::Alive(EntryId entry) {
  const auto block = static_cast<BlockId>(entry % (pool_.size() + 1)) + kNoBlock;
  return block != kNoBlock && at(block).id == entry;
}

PrefixCache::Key PrefixCache::MakeKey(EntryId parent, std::span<const TokenId> tokens) const {
  const std::uint64_t hash =
      options_.hash ? options_.hash(parent, tokens)
                    : absl::HashOf(parent, absl::MakeConstSpan(tokens.data(), tokens.size()));
  return {.parent = parent, .tokens = tokens, .hash = hash};
}

BlockId PrefixCache::Lookup(const Key& key) {
  BlockId block = BucketOf(key.hash);
  for (; block != kNoBlock; block = at(block).next_in_bucket) {
    const Entry& entry = at(block);
    if (entry.hash == key.hash && entry.parent == key.parent &&
        std::ranges::equal(TokensOf(block), key.tokens))
      break;
  }
  return block;
}

PrefixCache::Salts::value_type& PrefixCache::FindOrAddSalt(const std::string& salt) {
  const auto [found, added] = salts_.try_emplace(salt);
  if (added) found->second.root = NewIdentity(kNoBlock);
  return *found;
}

void PrefixCache::Enter(Salts::value_type& salt, const Key& key, BlockId block) {
  pool_.AddReference(block);
  BlockId& bucket = BucketOf(key.hash);
  at(block) = {.id = NewIdentity(block),
               .parent = key.parent,
               .hash = key.hash,
               .salt = &salt,
               .next_in_bucket = bucket};
  bucket = block;
  std::ranges::copy(key.tokens, TokensOf(block).begin());
  ++salt.second.entries;
  ++entry_count_;
}

void PrefixCache::Hold(BlockId block) {
  if (pool_.references(block) == 1) LeaveIdle(block);
  pool_.AddReference(block);
}

void PrefixCache::BecomeIdle(BlockId block) {
  at(block).waiting = !pool_.passed(block);
  (at(block).waiting ? waiting_ : ready_).PushBack(idle_links_, block);
  at(block).salt->second.idle.PushBack(salt_links_, block);
}

void PrefixCache::LeaveIdle(BlockId block) {
  (at(block).waiting ? waiting_ : ready_).Remove(idle_links_, block);
  at(block).salt->second.idle.Remove(salt_links_, block);
}

void PrefixCache::GiveUp(BlockId block) {
  LeaveIdle(block);
  RemoveFromBucket(block);
  Salts::value_type& salt = *at(block).salt;
  if (--salt.second.entries == 0) salts_.erase(salts_.find(salt.first));
  --entry_count_;
  at(block) = {};
  pool_.Release(block, 0);  // the pool has the fences of those that held it
}

void PrefixCache::RemoveFromBucket(BlockId block) {
  BlockId* link = &BucketOf(at(block).hash);
  while (*link != block) link = &at(*link).next_in_bucket;
  *link = at(block).next_in_bucket;
}

}  // namespace codegen::kv
