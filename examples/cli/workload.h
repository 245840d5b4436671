// SPDX-License-Identifier: Apache-2.0
//
// The requests of a load test.
#ifndef CODEGEN_EXAMPLES_CLI_WORKLOAD_H_
#define CODEGEN_EXAMPLES_CLI_WORKLOAD_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "codegen/codegen.h"
#include "flags.h"

namespace cli {

// An endless row of requests, the same for every number of clients: the i-th depends on the seed
// and i alone. Every completion has its full length, so that runs are alike. Safe to share between
// threads.
class Workload {
 public:
  // What --prompts, --prompt-tokens, --max-new-tokens, --mixed and --seed say. Errors:
  // INVALID_ARGUMENT (a line of the file is not what it should be, a request is longer than the
  // context), FAILED_PRECONDITION (texts, but no tokenizer), and as ReadFile.
  static absl::StatusOr<Workload> Create(const Flags& flags, const codegen::Model& model);

  codegen::Request At(std::uint64_t i) const;

 private:
  using Random = std::mt19937_64;
  using TokenIds = std::vector<codegen::TokenId>;

  Workload(const Flags& flags, const codegen::ModelInfo& info, std::vector<TokenIds> prompts)
      : flags_(flags), info_(info), prompts_(std::move(prompts)) {}

  absl::Status CheckLengths() const;
  int Length(int median, int most, Random& random) const;
  TokenIds RandomPrompt(std::uint64_t i, Random& random) const;

  Flags flags_;
  codegen::ModelInfo info_;
  std::vector<TokenIds> prompts_;  // taken in turn; none means random ones
};

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_WORKLOAD_H_
