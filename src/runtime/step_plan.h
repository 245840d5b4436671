// SPDX-License-Identifier: Apache-2.0
//
// What the next step computes, in the arrays that an Executor takes.
#ifndef CODEGEN_RUNTIME_STEP_PLAN_H_
#define CODEGEN_RUNTIME_STEP_PLAN_H_

#include <cstdint>
#include <span>
#include <vector>

#include "backend/rows.h"
#include "backend/sampling.h"
#include "kv/block_pool.h"
#include "runtime/sequence.h"

namespace codegen::runtime {

// Filled anew for every step; its arrays keep their memory.
class StepPlan {
 public:
  // A sequence's share of the step.
  struct Entry {
    Sequence* sequence = nullptr;  // null once it has ended
    int rows = 0;
    int draws = 0;  // of the rows, from the last back: the logits of each yield a token
  };

  explicit StepPlan(int block_tokens) : pages_per_block_(block_tokens / backend::kPageTokens) {}

  void Clear();
  // Adds the next `rows` tokens of `sequence`. Requires: its table has room for them.
  void Add(Sequence& sequence, int rows);

  bool empty() const { return entries_.empty(); }
  int rows() const { return static_cast<int>(tokens_.size()); }
  std::vector<Entry>& entries() { return entries_; }
  const std::vector<Entry>& entries() const { return entries_; }
  backend::Rows view() const;
  // [rows that yield tokens], entry by entry
  const std::vector<backend::Sampling>& sampling() const { return sampling_; }

 private:
  void AddSampling(const Sequence& sequence, int at);
  std::span<const backend::LogitChange> Kept(std::span<const backend::LogitChange> changes);
  void AddPages(const Sequence& sequence, int tokens);

  int pages_per_block_;
  std::vector<Entry> entries_;
  std::vector<TokenId> tokens_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> first_row_ = {0};
  std::vector<std::int32_t> first_page_ = {0};
  std::vector<std::int32_t> pages_;
  std::vector<std::int32_t> logit_rows_;
  std::vector<backend::Sampling> sampling_;
  // What sampling_ views, since a sequence may end while the step runs. Never fewer than that.
  std::vector<std::vector<backend::LogitChange>> changes_;
};

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_STEP_PLAN_H_
