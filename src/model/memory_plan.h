// SPDX-License-Identifier: Apache-2.0
//
// What a model takes, from its config alone.
#ifndef CODEGEN_MODEL_MEMORY_PLAN_H_
#define CODEGEN_MODEL_MEMORY_PLAN_H_

#include <cstdint>

#include "codegen/options.h"
#include "model/model_config.h"
#include "model/tensor_source.h"

namespace codegen::model {

struct MemoryPlan {
  std::int64_t parameters = 0;
  // Of parameters, those whose format can be chosen; the rest are float32.
  std::int64_t matrix_elements = 0;
  std::int64_t head_elements = 0;  // of matrix_elements, those of the output matrix
  std::int64_t embedding_elements = 0;
};

MemoryPlan PlanMemory(const ModelConfig& config);

// Bytes of all weights in these formats. Requires: neither is kAuto.
std::int64_t WeightBytes(const ModelConfig& config, const WantedFormats& formats);

// Bytes of the keys and values of a token in all layers. Requires: not kAuto.
std::int64_t KvBytesPerToken(const ModelConfig& config, KvFormat format);

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_MEMORY_PLAN_H_
