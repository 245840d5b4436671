// SPDX-License-Identifier: Apache-2.0
//
// Sequences that grow by ragged steps, on pages handed out in random order.
#ifndef CODEGEN_TESTS_CPU_RAGGED_H_
#define CODEGEN_TESTS_CPU_RAGGED_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "backend/rows.h"

namespace codegen::cpu {

// One step: which rows of which sequences it computes, and the arrays behind its Rows.
struct Step {
  backend::Rows rows() const {
    return {.tokens = tokens,
            .positions = positions,
            .first_row = first_row,
            .first_page = first_page,
            .pages = pages,
            .logit_rows = {}};
  }

  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> first_row = {0};
  std::vector<std::int32_t> first_page = {0};
  std::vector<std::int32_t> pages;
  std::vector<std::size_t> sequence_of;  // [rows]
};

class Ragged {
 public:
  // `lengths` of the sequences when complete.
  Ragged(std::vector<int> lengths, std::mt19937& random)
      : lengths_(std::move(lengths)), done_(lengths_.size(), 0), pages_of_(lengths_.size()) {
    std::vector<std::int32_t> pages(static_cast<std::size_t>(pages_total()));
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), random);
    for (std::size_t s = 0; s < lengths_.size(); ++s) {
      for (int i = 0; i < PagesFor(lengths_[s]); ++i) {
        pages_of_[s].push_back(pages.back());
        pages.pop_back();
      }
    }
  }

  int pages_total() const {
    return std::accumulate(lengths_.begin(), lengths_.end(), 0,
                           [](int sum, int length) { return sum + PagesFor(length); });
  }
  bool complete() const { return done_ == lengths_; }

  // Takes the next counts[s] rows of every sequence s, as far as it goes. A sequence without rows
  // is in the step all the same.
  Step Take(const std::vector<int>& counts) {
    Step step;
    for (std::size_t s = 0; s < lengths_.size(); ++s) {
      const int count = std::min(counts[s], lengths_[s] - done_[s]);
      for (int i = 0; i < count; ++i) {
        step.tokens.push_back(0);
        step.positions.push_back(done_[s]++);
        step.sequence_of.push_back(s);
      }
      step.first_row.push_back(static_cast<std::int32_t>(step.tokens.size()));
      step.pages.insert(step.pages.end(), pages_of_[s].begin(), pages_of_[s].end());
      step.first_page.push_back(static_cast<std::int32_t>(step.pages.size()));
    }
    return step;
  }

 private:
  static int PagesFor(int length) {
    return (length + backend::kPageTokens - 1) / backend::kPageTokens;
  }

  std::vector<int> lengths_;
  std::vector<int> done_;
  std::vector<std::vector<std::int32_t>> pages_of_;
};

}  // namespace codegen::cpu

#endif  // CODEGEN_TESTS_CPU_RAGGED_H_
