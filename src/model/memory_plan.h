// SPDX-License-Identifier: Apache-2.0
//
// What a model takes, from its config alone.
#ifndef CODEGEN_MODEL_MEMORY_PLAN_H_
#define CODEGEN_MODEL_MEMORY_PLAN_H_

#include <cstdint>

#include "codegen/options.h"
#include "model/model_config.h"

namespace codegen::model {

struct MemoryPlan {
  std::int64_t parameters = 0;
  std::int64_t matrix_elements =
      0;  // of parameters, those whose format can be chosen; the rest are float32
  std::int64_t head_elements = 0;  // of matrix_elements, those of the output matrix
  std::int64_t embedding_elements = 0;
  std::int64_t kv_bytes_per_token = 0;

  // Bytes of all weights in `format`. Requires: not kAuto.
  std::int64_t WeightBytes(WeightFormat format) const;
};

MemoryPlan PlanMemory(const ModelConfig& config);

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_MEMORY_PLAN_H_
