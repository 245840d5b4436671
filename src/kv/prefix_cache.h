// SPDX-License-Identifier: Apache-2.0
//
// Blocks that are kept for their tokens: a later request whose prompt begins with the same tokens,
// under the same salt, finds them and computes only what comes after.
//
// Full blocks form a tree for each salt: an entry is the tokens of one block after those of its
// parent. A lookup walks down from the salt's root by (parent, tokens of the next block). Hashes
// only find the bucket: the parent is compared by its identity, which is never used again, and the
// tokens one by one, so a forged collision cannot yield another's block.
//
// An entry holds one reference on its block. A block that nobody else holds is idle: it costs
// nothing but memory that is not wanted, and is given up from the least recently used on, deepest
// first within a sequence, when memory is wanted or when the idle blocks of its salt exceed the
// quota. An entry may be given up before its children; they are unreachable then, and go the same
// way in their turn.
//
// A block may be idle while a step that touches it is under way. Giving it up would win nothing
// now, so such blocks wait apart and line up for eviction when their fence is passed, which for
// one sequence still is deepest first: who holds a block holds those before it.
//
// There is one entry per block at most, so all that is kept for entries has a place for each block
// from the beginning, and nothing is allocated later but the names of salts that have entries.
#ifndef CODEGEN_KV_PREFIX_CACHE_H_
#define CODEGEN_KV_PREFIX_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "codegen/request.h"
#include "kv/block_list.h"
#include "kv/block_pool.h"

namespace codegen::kv {

// Identity of an entry, or of a salt's root. Never used twice.
using EntryId = std::int64_t;
inline constexpr EntryId kNoEntry = 0;

struct PrefixCacheOptions {
  int block_tokens = 16;
  int quota = 0;  // idle blocks of one salt at most; 0 keeps nothing
  // Of a parent and the tokens after it. Tests give a bad one.
  std::function<std::uint64_t(EntryId parent, std::span<const TokenId> tokens)> hash = {};
};

// Not safe for concurrent use.
class PrefixCache {
 public:
  // `pool` must outlive the cache.
  PrefixCache(BlockPool& pool, PrefixCacheOptions options);
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  struct Match {
    std::vector<BlockId> blocks = {};  // from the first on, each with a reference for the caller
    EntryId last = kNoEntry;           // of the last block; kNoEntry without any
  };

  // Finds the longest sequence of entries under `salt` whose tokens `tokens` begins with.
  Match Find(const std::string& salt, std::span<const TokenId> tokens);

  // Keeps `block`, which holds the keys and values of `tokens` after those of `parent` (kNoEntry:
  // at the beginning), and returns its entry. If the same tokens are kept already in another block,
  // that stays and its entry is returned. kNoEntry, and nothing changed, if `parent` was given up
  // meanwhile, as nobody could find what follows it, or if `block` is kept after another parent,
  // which then was given up. Requires: the caller holds a reference on `block`; neither parent nor
  // block is kept under another salt; tokens.size() == block_tokens; quota > 0.
  EntryId Insert(const std::string& salt, EntryId parent, std::span<const TokenId> tokens,
                 BlockId block);

  // Takes the caller's reference from `block`, which may or may not be kept here. `fence` as for
  // BlockPool::Release.
  void Release(BlockId block, StepId fence);

  // As BlockPool::Complete, which it calls.
  void Complete(StepId step);

  // Gives up the least recently used idle block whose fence was passed, so that the pool can hand
  // it out at once. False if there is none.
  bool Evict();

  int evictable() const { return ready_.size(); }  // blocks that Evict can give up now
  int idle() const { return ready_.size() + waiting_.size(); }
  int entries() const { return entry_count_; }
  int salts() const { return static_cast<int>(salts_.size()); }  // that have an entry

 private:
  struct Salt {
    EntryId root = kNoEntry;
    int entries = 0;
    BlockList idle = {};  // in order of going idle; through salt_links_
  };
  using Salts = std::unordered_map<std::string, Salt>;

  struct Entry {
    EntryId id = kNoEntry;  // kNoEntry: the block is not kept
    EntryId parent = kNoEntry;
    std::uint64_t hash = 0;
    Salts::value_type* salt = nullptr;
    BlockId next_in_bucket = kNoBlock;
    bool waiting = false;  // idle, and in waiting_
  };

  struct Key {
    EntryId parent;
    std::span<const TokenId> tokens;
    std::uint64_t hash;
  };

  Entry& at(BlockId block) { return entries_[static_cast<std::size_t>(block)]; }
  BlockId& BucketOf(std::uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  std::span<TokenId> TokensOf(BlockId block);

  // An identity says its block, that of a root kNoBlock's place: so whether it is alive is O(1).
  EntryId NewIdentity(BlockId block);
  bool Alive(EntryId entry);

  Key MakeKey(EntryId parent, std::span<const TokenId> tokens) const;
  BlockId Lookup(const Key& key);  // kNoBlock if there is none
  Salts::value_type& FindOrAddSalt(const std::string& salt);
  void Enter(Salts::value_type& salt, const Key& key, BlockId block);
  void Hold(BlockId block);
  void BecomeIdle(BlockId block);
  void LeaveIdle(BlockId block);
  void GiveUp(BlockId block);
  void RemoveFromBucket(BlockId block);

  BlockPool& pool_;
  PrefixCacheOptions options_;

  // A place for each block.
  std::vector<Entry> entries_;
  std::vector<TokenId> tokens_;  // [blocks, block_tokens]
  BlockLinks idle_links_;
  BlockLinks salt_links_;

  std::vector<BlockId> buckets_;  // the first block of each; a power of two
  Salts salts_;
  BlockList ready_;    // idle, fence passed, least recently used first; through idle_links_
  BlockList waiting_;  // idle, fence not passed, in order of going idle; through idle_links_
  int entry_count_ = 0;
  std::int64_t identities_ = 0;  // given so far
};

}  // namespace codegen::kv

#endif  // CODEGEN_KV_PREFIX_CACHE_H_
