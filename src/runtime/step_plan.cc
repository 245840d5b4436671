// SPDX-License-Identifier: Apache-2.0
#include "runtime/step_plan.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace codegen::runtime {
namespace {

// Further samples draw from streams of their own; the first is that of the request alone.
std::uint64_t SeedOf(std::uint64_t seed, int sample) {
  // Steele, Lea and Flood's constant, "Fast splittable pseudorandom number generators" (2014).
  return seed + static_cast<std::uint64_t>(sample) * 0x9E3779B97F4A7C15U;
}

// How many of the next `rows` of a sequence, from the last back, yield a token: the last of all
// that is known; to score, each but those that were scored before its memory was lost.
int Draws(const Sequence& sequence, int rows) {
  if (!sequence.scores()) return rows == sequence.pending() ? 1 : 0;
  return std::clamp(sequence.computed + rows - sequence.scored, 0, rows);
}

}  // namespace

void StepPlan::Clear() {
  entries_.clear();
  tokens_.clear();
  positions_.clear();
  first_row_.assign(1, 0);
  first_page_.assign(1, 0);
  pages_.clear();
  logit_rows_.clear();
  sampling_.clear();
}

void StepPlan::Add(Sequence& sequence, int rows) {
  CODEGEN_DCHECK(rows > 0 && rows <= sequence.pending());
  const int end = sequence.computed + rows;
  for (int i = sequence.computed; i < end; ++i) {
    tokens_.push_back(sequence.tokens[static_cast<std::size_t>(i)]);
    positions_.push_back(i);
  }
  first_row_.push_back(static_cast<std::int32_t>(tokens_.size()));
  AddPages(sequence, end);

  const int draws = Draws(sequence, rows);
  for (int at = end - draws; at < end; ++at) {
    logit_rows_.push_back(static_cast<std::int32_t>(tokens_.size()) - (end - at));
    AddSampling(sequence, at);
  }
  sequence.place = static_cast<int>(entries_.size());
  entries_.push_back({.sequence = &sequence, .rows = rows, .draws = draws});
}

// How the token after the one at `at` is found.
void StepPlan::AddSampling(const Sequence& sequence, int at) {
  sampling_.push_back(sequence.job->sampling);
  sampling_.back().seed = SeedOf(sequence.job->sampling.seed, sequence.id.sample);
  sampling_.back().position = at + 1;
  sampling_.back().changes = Kept(sequence.penalties.changes());
  if (sequence.scores()) sampling_.back().given = sequence.job->given[static_cast<std::size_t>(at)];
}

// A copy of the changes of the last of sampling_.
std::span<const backend::LogitChange> StepPlan::Kept(
    std::span<const backend::LogitChange> changes) {
  if (changes.empty()) return {};
  if (changes_.size() < sampling_.size()) changes_.resize(sampling_.size());
  std::vector<backend::LogitChange>& kept = changes_[sampling_.size() - 1];
  kept.assign(changes.begin(), changes.end());
  return kept;
}

// Block by block, as this is where Plan spends most of its time: 256 long sequences have tens of
// thousands of pages.
void StepPlan::AddPages(const Sequence& sequence, int tokens) {
  const int per_block = pages_per_block_;
  const int pages = (tokens + backend::kPageTokens - 1) / backend::kPageTokens;
  const int blocks = (pages + per_block - 1) / per_block;
  CODEGEN_DCHECK(static_cast<std::size_t>(blocks) <= sequence.table.blocks.size());
  const std::size_t first = pages_.size();
  pages_.resize(first + static_cast<std::size_t>(blocks * per_block));
  std::int32_t* page = pages_.data() + first;
  for (int i = 0; i < blocks; ++i) {
    const kv::BlockId block = sequence.table.blocks[static_cast<std::size_t>(i)];
    for (int part = 0; part < per_block; ++part) *page++ = block * per_block + part;
  }
  pages_.resize(first + static_cast<std::size_t>(pages));
  first_page_.push_back(static_cast<std::int32_t>(pages_.size()));
}

backend::Rows StepPlan::view() const {
  return {.tokens = tokens_,
          .positions = positions_,
          .first_row = first_row_,
          .first_page = first_page_,
          .pages = pages_,
          .logit_rows = logit_rows_};
}

}  // namespace codegen::runtime
