// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulated_device.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

namespace codegen::runtime {
namespace {

std::uint64_t Mixed(std::uint64_t x) {
  x = (x ^ (x >> 32U)) * 0xD6E8FEB86659FD93U;
  return x ^ (x >> 29U);
}

}  // namespace

std::uint64_t Chained(std::uint64_t before, TokenId token, std::int32_t position) {
  const auto row = static_cast<std::uint64_t>(token) << 32U | static_cast<std::uint64_t>(position);
  return Mixed(before * 0x9E3779B97F4A7C15U + row) | 1U;
}

float Likelihood(std::uint64_t chain) { return static_cast<float>(chain >> 40U); }

TokenId Drawn(std::uint64_t chain, const backend::Sampling& sampling) {
  if (sampling.top_k > 0 && sampling.top_k == sampling.position) return -1;
  if (sampling.given >= 0) return sampling.given;
  for (const backend::LogitChange& change : sampling.changes) {
    const auto bits = std::bit_cast<std::uint32_t>(change.bias - change.divisor);
    chain = Mixed(chain + (std::uint64_t{bits} << 32U | static_cast<std::uint64_t>(change.id)));
  }
  const std::uint64_t number =
      Mixed(chain ^ Mixed(sampling.seed + static_cast<std::uint64_t>(sampling.position)));
  return static_cast<TokenId>((number >> 8U) % static_cast<std::uint64_t>(sampling.vocabulary));
}

SimulatedDevice::SimulatedDevice(const kv::BlockPool& pool, int block_tokens, Verdict& verdict)
    : pool_(pool),
      block_tokens_(block_tokens),
      verdict_(verdict),
      slots_(static_cast<std::size_t>(pool.size() * block_tokens)),
      generations_(static_cast<std::size_t>(pool.size())),
      readers_(slots_.size() / backend::kPageTokens) {}

void SimulatedDevice::Poison(const StepPlan& plan) {
  for (const std::int32_t page : plan.view().pages) {
    const kv::BlockId block = page * backend::kPageTokens / block_tokens_;
    auto& seen = generations_[static_cast<std::size_t>(block)];
    if (seen == pool_.generation(block)) continue;
    seen = pool_.generation(block);
    std::fill_n(slots_.begin() + block * block_tokens_, block_tokens_, 0);
  }
}

std::vector<backend::SampledToken> SimulatedDevice::Compute(const StepPlan& plan, Random& random) {
  const backend::Rows rows = plan.view();
  ExpectSeparatePages(rows);
  outputs_.assign(rows.tokens.size(), 0);
  std::vector<std::size_t> order(static_cast<std::size_t>(rows.sequences()));
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[random() % left]);
  }
  for (const std::size_t sequence : order) ComputeSequence(rows, sequence);

  std::vector<backend::SampledToken> drawn;
  for (std::size_t i = 0; i < rows.logit_rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows.logit_rows[i]);
    drawn.push_back(
        {.id = Drawn(outputs_[row], plan.sampling()[i]), .logprob = Likelihood(outputs_[row])});
  }
  return drawn;
}

// Who writes to a page is the only one that sees it.
void SimulatedDevice::ExpectSeparatePages(const backend::Rows& rows) {
  for (const std::int32_t page : rows.pages) ++readers_[static_cast<std::size_t>(page)];
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows.sequences()); ++i) {
    const auto first = static_cast<std::size_t>(rows.first_row[i]);
    const std::int32_t first_page = rows.first_page[i];
    const std::int32_t pages = rows.first_page[i + 1] - first_page;
    for (int page = rows.positions[first] / backend::kPageTokens; page < pages; ++page) {
      const auto written =
          static_cast<std::size_t>(rows.pages[static_cast<std::size_t>(first_page + page)]);
      verdict_.Expect(readers_[written] == 1, "a page that a step writes is in two sequences");
    }
  }
  for (const std::int32_t page : rows.pages) readers_[static_cast<std::size_t>(page)] = 0;
}

void SimulatedDevice::ComputeSequence(const backend::Rows& rows, std::size_t sequence) {
  const auto slot = [&](std::int32_t position) -> std::uint64_t& {
    const std::int32_t page = rows.first_page[sequence] + position / backend::kPageTokens;
    return slots_[static_cast<std::size_t>(rows.pages[static_cast<std::size_t>(page)] *
                                               backend::kPageTokens +
                                           position % backend::kPageTokens)];
  };
  const std::int32_t pages = rows.first_page[sequence + 1] - rows.first_page[sequence];
  for (auto row = static_cast<std::size_t>(rows.first_row[sequence]);
       row < static_cast<std::size_t>(rows.first_row[sequence + 1]); ++row) {
    const std::int32_t position = rows.positions[row];
    verdict_.Expect(position < pages * backend::kPageTokens, "a row lies beyond its pages");
    if (!verdict_.ok()) return;
    const std::uint64_t before = position == 0 ? kBeginning : slot(position - 1);
    verdict_.Expect(before != 0, "a place is read that was not written");
    verdict_.Expect(slot(position) == 0, "a place is written twice");
    outputs_[row] = slot(position) = Chained(before, rows.tokens[row], position);
  }
}

}  // namespace codegen::runtime
