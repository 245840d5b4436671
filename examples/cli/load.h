// SPDX-License-Identifier: Apache-2.0
//
// Loading what the flags name.
#ifndef CODEGEN_EXAMPLES_CLI_LOAD_H_
#define CODEGEN_EXAMPLES_CLI_LOAD_H_

#include <absl/status/statusor.h>

#include "flags.h"

namespace cli {

struct LoadedModel {
  codegen::Model model;
  double load_s = 0;
};

// Loads --model, or makes the model of --dummy-weights, with a progress bar. Errors: as
// Model::Load.
absl::StatusOr<LoadedModel> LoadModel(const Flags& flags);

// Loads the tokenizer of --tokenizer, else that of --model, without any weights. Errors: as
// Tokenizer::Load.
absl::StatusOr<codegen::Tokenizer> LoadTokenizer(const Flags& flags);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_LOAD_H_
