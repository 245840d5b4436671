// SPDX-License-Identifier: Apache-2.0
//
// A device whose keys and values are a chain of hashes. The row of a token reads the hash before it
// through the pages that it is told and writes its own; the token that is drawn depends on the
// last. Whatever reads a place that is another's, too new or too old therefore changes the output.
#ifndef CODEGEN_TESTS_RUNTIME_SIMULATED_DEVICE_H_
#define CODEGEN_TESTS_RUNTIME_SIMULATED_DEVICE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/rows.h"
#include "backend/sampling.h"
#include "kv/block_pool.h"
#include "runtime/simulated_workload.h"
#include "runtime/step_plan.h"

namespace codegen::runtime {

// What is wrong, if anything is: the first that was found.
class Verdict {
 public:
  void Expect(bool holds, const char* rule) {
    if (!holds && broken_.empty()) broken_ = rule;
  }
  bool ok() const { return broken_.empty(); }
  const std::string& broken() const { return broken_; }

 private:
  std::string broken_;
};

inline constexpr std::uint64_t kBeginning = 0x5EED;

// Never 0.
std::uint64_t Chained(std::uint64_t before, TokenId token, std::int32_t position);

// The token that follows a chain; -1, as if nothing was finite, where position is top_k.
TokenId Drawn(std::uint64_t chain, const backend::Sampling& sampling);
// Of a token that follows it: as many bits as a float holds.
float Likelihood(std::uint64_t chain);

class SimulatedDevice {
 public:
  SimulatedDevice(const kv::BlockPool& pool, int block_tokens, Verdict& verdict);

  // Blocks that were handed out anew hold nothing. To be called after each Plan.
  void Poison(const StepPlan& plan);

  // Computes the step, its sequences in any order.
  std::vector<backend::SampledToken> Compute(const StepPlan& plan, Random& random);

  // What the slot of `token` of `block` holds; 0 if nothing was written there.
  std::uint64_t at(kv::BlockId block, int token) const {
    return slots_[static_cast<std::size_t>(block * block_tokens_ + token)];
  }

 private:
  void ExpectSeparatePages(const backend::Rows& rows);
  void ComputeSequence(const backend::Rows& rows, std::size_t sequence);

  const kv::BlockPool& pool_;
  int block_tokens_;
  Verdict& verdict_;
  std::vector<std::uint64_t> slots_;
  std::vector<std::int64_t> generations_;
  std::vector<std::uint64_t> outputs_;  // of the rows
  std::vector<int> readers_;            // of each page, in this step
};

}  // namespace codegen::runtime

#endif  // CODEGEN_TESTS_RUNTIME_SIMULATED_DEVICE_H_
