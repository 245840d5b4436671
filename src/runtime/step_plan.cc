// SPDX-License-Identifier: Apache-2.0
#include "runtime/step_plan.h"

#include "base/check.h"

namespace codegen::runtime {
namespace {

// Further samples draw from streams of their own; the first is that of the request alone.
std::uint64_t SeedOf(std::uint64_t seed, int sample) {
  // Steele, Lea and Flood's constant, "Fast splittable pseudorandom number generators" (2014).
  return seed + static_cast<std::uint64_t>(sample) * 0x9E3779B97F4A7C15U;
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

  const bool draws = rows == sequence.pending();
  if (draws) {
    logit_rows_.push_back(static_cast<std::int32_t>(tokens_.size()) - 1);
    sampling_.push_back(sequence.job->sampling);
    sampling_.back().seed = SeedOf(sequence.job->sampling.seed, sequence.id.sample);
    sampling_.back().position = end;
  }
  sequence.place = static_cast<int>(entries_.size());
  entries_.push_back({.sequence = &sequence, .rows = rows, .draws = draws});
}

void StepPlan::AddPages(const Sequence& sequence, int tokens) {
  const int pages = (tokens + backend::kPageTokens - 1) / backend::kPageTokens;
  for (int page = 0; page < pages; ++page) {
    const std::size_t block = static_cast<std::size_t>(page / pages_per_block_);
    CODEGEN_DCHECK(block < sequence.table.blocks.size());
    pages_.push_back(sequence.table.blocks[block] * pages_per_block_ + page % pages_per_block_);
  }
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
