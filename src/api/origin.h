// SPDX-License-Identifier: Apache-2.0
//
// Where a loaded model came from: what Save copies beside the weights, and what a saved folder says
// that the options may not contradict.
#ifndef CODEGEN_API_ORIGIN_H_
#define CODEGEN_API_ORIGIN_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string>

#include "codegen/model.h"
#include "codegen/options.h"
#include "model/model_config.h"
#include "model/saved_model.h"

namespace codegen::api {

struct Origin {
  std::string config_json = {};       // the bytes of config.json
  std::string tokenizer_folder = {};  // absolute; empty without a tokenizer
  model::SavedTokenizer tokenizer = model::SavedTokenizer::kNone;
};

// The options with which the folder of `header` is loaded: what was saved, where `options` leave it
// open. Errors: INVALID_ARGUMENT saying what the folder holds, where they do not;
// UNIMPLEMENTED on another device than the CPU.
absl::StatusOr<LoadOptions> OptionsOfSaved(const model::SavedHeader& header,
                                           const LoadOptions& options);

// Fills in where the tokenizer of a model comes from: the options' folder or else the model's own.
// CodeGen2.5 publishes only code: its vocabulary is built from GPT-2's files, those of the options
// or those that were `saved` with it.
void FindTokenizer(const std::string& folder, const LoadOptions& options,
                   const model::ModelConfig& config, model::SavedTokenizer saved, Origin& origin);

// Errors: INVALID_ARGUMENT if `info`, taken from the tensors, contradicts the header.
absl::Status CheckSavedFormats(const model::SavedHeader& header, const ModelInfo& info);

}  // namespace codegen::api

#endif  // CODEGEN_API_ORIGIN_H_
