// SPDX-License-Identifier: Apache-2.0
//
// The definition of PagedMemory: no hashes, no counters, no links. References are counted by
// looking who holds a block, and what is kept is searched from one end to the other. Only which of
// the free blocks is handed out is not defined; the model is told.
#ifndef CODEGEN_TESTS_KV_NAIVE_MEMORY_H_
#define CODEGEN_TESTS_KV_NAIVE_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <set>
#include <string>
#include <vector>

#include "codegen/request.h"
#include "kv/block_pool.h"

namespace codegen::kv {

inline bool Contains(const std::vector<BlockId>& blocks, BlockId block) {
  return std::ranges::find(blocks, block) != blocks.end();
}

class NaiveMemory {
 public:
  using Tokens = std::vector<TokenId>;

  struct Table {
    std::vector<BlockId> blocks = {};
    int kept = 0;
    int last_kept = 0;
  };

  struct Entry {
    int id = 0;
    int parent = 0;
    std::string salt = {};
    Tokens tokens = {};
    BlockId block = 0;
  };

  NaiveMemory(int blocks, int block_tokens, int quota)
      : block_tokens_(block_tokens),
        quota_(quota),
        fences_(static_cast<std::size_t>(blocks)),
        generations_(static_cast<std::size_t>(blocks)) {}

  // A table of a sequence that begins; stays until it is released.
  Table& Begin() { return tables_.emplace_back(); }

  void Adopt(const std::string& salt, const Tokens& tokens, Table& table) {
    for (int i = 0; (i + 1) * block_tokens_ <= static_cast<int>(tokens.size()); ++i) {
      const Entry* entry = Find(salt, table.last_kept, BlockOf(tokens, i));
      if (entry == nullptr) return;
      std::erase(idle_, entry->block);
      std::erase(line_, entry->block);
      table.blocks.push_back(entry->block);
      table.last_kept = entry->id;
      ++table.kept;
    }
  }

  void Share(const Table& other, int tokens, Table& table) {
    const int blocks = tokens / block_tokens_;
    table.blocks.assign(other.blocks.begin(), other.blocks.begin() + blocks);
    if (other.kept > blocks) return;
    table.kept = other.kept;
    table.last_kept = other.last_kept;
  }

  // Gives up what it takes to have `missing` free blocks. False if that cannot be.
  bool MakeFree(int missing) {
    if (missing > Available()) return false;
    while (Ready() < missing) GiveUp(line_.front());
    return true;
  }

  // `block` was handed out to `table`. False if it was not to be handed out.
  bool Took(BlockId block, Table& table) {
    if (References(block) > 0 || !Passed(block)) return false;
    table.blocks.push_back(block);
    ++generations_[Index(block)];
    return true;
  }

  void Keep(const std::string& salt, const Tokens& tokens, Table& table) {
    while ((table.kept + 1) * block_tokens_ <= static_cast<int>(tokens.size())) {
      const BlockId block = table.blocks[static_cast<std::size_t>(table.kept)];
      const Tokens part = BlockOf(tokens, table.kept);
      if (table.last_kept != 0 && !Alive(table.last_kept)) return;
      const Entry* entry = Find(salt, table.last_kept, part);
      if (entry == nullptr) {
        if (Kept(block)) return;
        entries_.push_back({++ids_, table.last_kept, salt, part, block});
        entry = &entries_.back();
      }
      table.last_kept = entry->id;
      ++table.kept;
    }
  }

  void Release(Table& table, StepId fence) {
    for (; !table.blocks.empty();) {
      const BlockId block = table.blocks.back();
      table.blocks.pop_back();
      fences_[Index(block)] = std::max(fences_[Index(block)], fence);
      if (Kept(block) && References(block) == 1) GoIdle(block);
    }
    tables_.remove_if([&](const Table& other) { return &other == &table; });
  }

  void Complete(StepId step) {
    completed_ = step;
    for (const BlockId block : idle_)
      if (Passed(block) && !Contains(line_, block)) line_.push_back(block);
  }

  int size() const { return static_cast<int>(fences_.size()); }
  std::int64_t generation(BlockId block) const { return generations_[Index(block)]; }
  int Available() const { return Ready() + static_cast<int>(line_.size()); }
  int Idle() const { return static_cast<int>(idle_.size()); }
  int Entries() const { return static_cast<int>(entries_.size()); }

  int References(BlockId block) const {
    int references = Kept(block) ? 1 : 0;
    for (const Table& table : tables_) references += Contains(table.blocks, block) ? 1 : 0;
    return references;
  }

  // Free blocks whose fence was passed.
  int Ready() const {
    int ready = 0;
    for (BlockId block = 0; block < size(); ++block)
      ready += References(block) == 0 && Passed(block) ? 1 : 0;
    return ready;
  }

  std::set<std::string> Salts() const {
    std::set<std::string> salts;
    for (const Entry& entry : entries_) salts.insert(entry.salt);
    return salts;
  }

  int IdleOf(const std::string& salt) const {
    return static_cast<int>(std::ranges::count_if(entries_, [&](const Entry& entry) {
      return entry.salt == salt && Contains(idle_, entry.block);
    }));
  }

 private:
  static std::size_t Index(BlockId block) { return static_cast<std::size_t>(block); }
  bool Passed(BlockId block) const { return fences_[Index(block)] <= completed_; }

  Tokens BlockOf(const Tokens& tokens, int number) const {
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(number) * block_tokens_;
    return {begin, begin + block_tokens_};
  }

  const Entry* Find(const std::string& salt, int parent, const Tokens& tokens) const {
    for (const Entry& entry : entries_)
      if (entry.salt == salt && entry.parent == parent && entry.tokens == tokens) return &entry;
    return nullptr;
  }

  bool Alive(int id) const {
    return std::ranges::any_of(entries_, [&](const Entry& entry) { return entry.id == id; });
  }

  bool Kept(BlockId block) const {
    return std::ranges::any_of(entries_, [&](const Entry& entry) { return entry.block == block; });
  }

  const std::string& SaltOf(BlockId block) const {
    return std::ranges::find(entries_, block, &Entry::block)->salt;
  }

  void GoIdle(BlockId block) {
    idle_.push_back(block);
    if (Passed(block)) line_.push_back(block);
    if (IdleOf(SaltOf(block)) > quota_)
      GiveUp(*std::ranges::find_if(
          idle_, [&](BlockId oldest) { return SaltOf(oldest) == SaltOf(block); }));
  }

  void GiveUp(BlockId block) {
    std::erase(idle_, block);
    std::erase(line_, block);
    std::erase_if(entries_, [=](const Entry& entry) { return entry.block == block; });
  }

  int block_tokens_;
  int quota_;
  std::vector<StepId> fences_;
  std::vector<std::int64_t> generations_;
  std::list<Table> tables_;  // a list, so that each stays in its place
  std::vector<Entry> entries_;
  std::vector<BlockId> idle_;  // in order of going idle
  std::vector<BlockId> line_;  // of them, those whose fence was passed, in order of both
  StepId completed_ = 0;
  int ids_ = 0;
};

}  // namespace codegen::kv

#endif  // CODEGEN_TESTS_KV_NAIVE_MEMORY_H_
