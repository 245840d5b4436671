// SPDX-License-Identifier: Apache-2.0
//
// What the copies of a Model share.
#ifndef CODEGEN_API_MODEL_STATE_H_
#define CODEGEN_API_MODEL_STATE_H_

#include <optional>
#include <vector>

#include "api/executors.h"
#include "api/origin.h"
#include "codegen/model.h"
#include "model/memory_plan.h"
#include "model/model_config.h"

namespace codegen {

struct Model::State {
  ModelInfo info = {};
  model::ModelConfig config = {};
  model::MemoryPlan memory = {};
  std::optional<Tokenizer> tokenizer = {};
  std::vector<TokenId> end_of_text = {};
  // Ids below this can be sampled: those that the tokenizer knows, or all rows without one.
  int sampled_vocabulary = 0;
  std::int64_t head_bytes = 0;       // of info.weight_bytes, what only rows with logits read
  std::int64_t embedding_bytes = 0;  // of info.weight_bytes, what is read a row at a time
  api::OnDevice on_device = {};
  std::optional<api::Origin> origin = {};  // nothing for a Random model
};

}  // namespace codegen

#endif  // CODEGEN_API_MODEL_STATE_H_
