// SPDX-License-Identifier: Apache-2.0
//
// The key-value memory as a scheduler asks for it: room for the tokens of a sequence, found in the
// prefix cache, taken from the free blocks, or won by giving up idle ones.
#ifndef CODEGEN_KV_PAGED_MEMORY_H_
#define CODEGEN_KV_PAGED_MEMORY_H_

#include <span>
#include <string>
#include <vector>

#include "codegen/request.h"
#include "kv/block_pool.h"
#include "kv/prefix_cache.h"

namespace codegen::kv {

// Where the tokens of one sequence lie. Made empty, filled by PagedMemory alone.
struct BlockTable {
  std::vector<BlockId> blocks = {};  // token i lies in blocks[i / block_tokens]
  // Of them, from the first on, those whose tokens the cache has an entry for, of this block or of
  // an equal one that was there before.
  int kept = 0;
  EntryId last_kept = kNoEntry;  // the entry of the last of those
};

struct PagedMemoryOptions {
  int blocks = 0;
  PrefixCacheOptions cache = {};
};

// Not safe for concurrent use.
class PagedMemory {
 public:
  explicit PagedMemory(const PagedMemoryOptions& options);
  PagedMemory(const PagedMemory&) = delete;
  PagedMemory& operator=(const PagedMemory&) = delete;

  // Lets an empty `table` begin with the longest kept prefix of `tokens` under `salt`, in whole
  // blocks. Returns how many tokens that is. Callers that want the logits of the last token leave
  // it out of `tokens`.
  int Adopt(const std::string& salt, std::span<const TokenId> tokens, BlockTable& table);

  // Lets an empty `table` begin with the first `tokens` / block_tokens blocks of `other`, all full.
  // Returns how many tokens that is. Requires: the two sequences have the same salt.
  int Share(const BlockTable& other, int tokens, BlockTable& table);

  // Makes room for `tokens` tokens in all. False, and nothing changed, if there are too few blocks.
  bool Grow(int tokens, BlockTable& table);

  // `tokens` are the first tokens of the sequence, and computed: enters their full blocks into the
  // cache. A block whose tokens are kept already in another stays private to the sequence, and what
  // follows is entered after that other. Should that one be given up, as nobody need hold it, what
  // follows is lost to later requests: it is not entered, or cannot be found.
  void Keep(const std::string& salt, std::span<const TokenId> tokens, BlockTable& table);

  // Gives up all of `table`, deepest block first, and empties it. No step after `fence` touches it.
  void Release(BlockTable& table, StepId fence);

  // The device has completed all steps up to `step`. Requires: no less than before.
  void Complete(StepId step) { cache_.Complete(step); }

  int BlocksFor(int tokens) const;  // rounded up
  int size() const { return pool_.size(); }
  int available() const { return pool_.free() + cache_.evictable(); }  // blocks that Grow can win
  int idle() const { return cache_.idle(); }
  int used() const { return size() - available(); }  // held by sequences, or behind a fence
  const BlockPool& pool() const { return pool_; }
  const PrefixCache& cache() const { return cache_; }

 private:
  BlockId Win();

  int block_tokens_;
  BlockPool pool_;
  PrefixCache cache_;
  bool keeps_;
};

}  // namespace codegen::kv

#endif  // CODEGEN_KV_PAGED_MEMORY_H_
