// SPDX-License-Identifier: Apache-2.0
//
// What must hold of the memory: every block is accounted for, and holds what its holders think.
#include <algorithm>
#include <map>

#include "runtime/observer.h"

namespace codegen::runtime {

// While a step runs, no block that it touches counts as one that could be handed out.
void Observer::CheckMemory(const StepPlan* running) {
  if (!verdict_.ok()) return;
  touched_.assign(touched_.size(), false);
  if (running != nullptr) {
    for (const std::int32_t page : running->view().pages) {
      touched_[static_cast<std::size_t>(page * backend::kPageTokens /
                                        options_.memory.cache.block_tokens)] = true;
    }
  }
  CountTables();
  CheckBlocks(running);
  CheckQuota();
}

void Observer::CountTables() {
  std::ranges::fill(holders_, Holder());
  ForEachLive([this](const WatchedSample& sample) {
    const Sequence& sequence = *sample.sequence;
    CheckTable(sequence);
    for (std::size_t i = 0; i < sequence.table.blocks.size(); ++i) {
      const auto block = static_cast<std::size_t>(sequence.table.blocks[i]);
      Holder& holder = holders_[block];
      if (holder.tables++ == 0) {
        holder.sequence = &sequence;
        holder.index = i;
      } else {
        CheckShared(sequence, i);
      }
      const std::int64_t generation =
          scheduler_.memory().pool().generation(sequence.table.blocks[i]);
      if (owners_[block].generation != generation) {
        owners_[block] = {.generation = generation, .salt = &sample.job->cache_salt};
      }
      verdict_.Expect(*owners_[block].salt == sample.job->cache_salt,
                      "a block is shared across salts");
    }
  });
}

// As much as is needed, and nothing for those that do not run.
void Observer::CheckTable(const Sequence& sequence) {
  const int blocks = static_cast<int>(sequence.table.blocks.size());
  if (sequence.phase != Phase::kRunning) {
    verdict_.Expect(blocks == 0, "who waits holds memory");
    verdict_.Expect(sequence.computed == 0, "who waits has computed something");
  } else if (options_.kv_policy == KvPolicy::kReserve) {
    verdict_.Expect(blocks == BlocksFor(static_cast<int>(sequence.job->prompt.size()) +
                                        sequence.job->new_tokens),
                    "what was reserved is not what it needs");
  } else {
    verdict_.Expect(blocks >= BlocksFor(std::max(sequence.computed, 1)), "a block is missing");
    verdict_.Expect(blocks <= BlocksFor(static_cast<int>(sequence.tokens.size())),
                    "a block is held that is not needed");
  }
}

// A block in two tables is full, and has the same tokens for both.
void Observer::CheckShared(const Sequence& sequence, std::size_t index) {
  const Holder& other = holders_[static_cast<std::size_t>(sequence.table.blocks[index])];
  const auto block_tokens = static_cast<std::size_t>(options_.memory.cache.block_tokens);
  const auto end = (index + 1) * block_tokens;
  verdict_.Expect(other.index == index && static_cast<int>(end) <= sequence.computed &&
                      static_cast<int>(end) <= other.sequence->computed,
                  "a block is in two tables that is not full");
  if (!verdict_.ok()) return;
  const auto begin = static_cast<std::ptrdiff_t>(index * block_tokens);
  verdict_.Expect(std::equal(sequence.tokens.begin() + begin,
                             sequence.tokens.begin() + static_cast<std::ptrdiff_t>(end),
                             other.sequence->tokens.begin() + begin),
                  "a block is shared by different tokens");
}

// What was computed before this step lies where the step will read it, at the end of each page.
void Observer::CheckChain(const StepPlan& plan) {
  const int block_tokens = options_.memory.cache.block_tokens;
  for (const StepPlan::Entry& entry : plan.entries()) {
    const Sequence& sequence = *entry.sequence;
    const std::vector<std::uint64_t>& chain = at(sequence.id).chain;
    for (int i = backend::kPageTokens - 1; i < sequence.computed; i += backend::kPageTokens) {
      verdict_.Expect(device_.at(sequence.table.blocks[static_cast<std::size_t>(i / block_tokens)],
                                 i % block_tokens) == chain[static_cast<std::size_t>(i)],
                      "a page does not hold what was computed");
    }
  }
}

void Observer::CheckBlocks(const StepPlan* running) {
  const kv::PagedMemory& memory = scheduler_.memory();
  int free = 0;
  int fenced = 0;
  int idle = 0;
  int ready = 0;
  int kept = 0;
  for (std::size_t i = 0; i < holders_.size(); ++i) {
    const auto block = static_cast<kv::BlockId>(i);
    const int references = memory.pool().references(block);
    const int more = references - holders_[i].tables;
    verdict_.Expect(more == 0 || more == 1, "references are not what tables and cache hold");
    kept += more;
    const bool passed = memory.pool().passed(block);
    if (holders_[i].tables == 0) {
      verdict_.Expect(!touched_[i] || !passed, "a block is given up before its fence");
      verdict_.Expect(running != nullptr || passed, "a fence has not fallen");
    }
    if (references == 0) ++(passed ? free : fenced);
    if (references == 1 && more == 1) {
      ++idle;
      if (passed) ++ready;
    }
  }
  verdict_.Expect(kept == memory.cache().entries(), "entries are counted wrongly");
  verdict_.Expect(free == memory.pool().free(), "free blocks are lost or counted twice");
  verdict_.Expect(idle == memory.idle(), "idle blocks are counted wrongly");
  verdict_.Expect(ready == memory.cache().evictable(),
                  "blocks that can be won are counted wrongly");
  verdict_.Expect(running != nullptr || fenced == 0, "a free block is kept back");
  verdict_.Expect(memory.cache().salts() <= memory.cache().entries(), "salts are left behind");
}

void Observer::CheckQuota() {
  if (scheduler_.memory().idle() == 0) return;
  std::map<std::string, int> idle;
  for (std::size_t i = 0; i < holders_.size(); ++i) {
    if (holders_[i].tables > 0 || owners_[i].salt == nullptr) continue;
    if (scheduler_.memory().pool().references(static_cast<kv::BlockId>(i)) > 0)
      ++idle[*owners_[i].salt];
  }
  for (const auto& [salt, blocks] : idle) {
    verdict_.Expect(blocks <= options_.memory.cache.quota, "a salt keeps more than its quota");
  }
}

}  // namespace codegen::runtime
