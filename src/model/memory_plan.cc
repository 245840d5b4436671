// SPDX-License-Identifier: Apache-2.0
#include "model/memory_plan.h"

#include "model/weight_names.h"

namespace codegen::model {

std::int64_t MemoryPlan::WeightBytes(WeightFormat format) const {
  const std::int64_t item_bytes = format == WeightFormat::kF32 ? 4 : 2;
  return matrix_elements * item_bytes + (parameters - matrix_elements) * 4;
}

MemoryPlan PlanMemory(const ModelConfig& config) {
  MemoryPlan plan;
  for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
    plan.parameters += tensor.elements();
    if (tensor.is_matrix()) plan.matrix_elements += tensor.elements();
  }
  const OuterNames outer = Outer(config);
  plan.head_elements = outer.head.elements();
  plan.embedding_elements = outer.embedding.elements();
  constexpr std::int64_t kKeyAndValueBytes = 2 * sizeof(float);
  plan.kv_bytes_per_token = kKeyAndValueBytes * config.layers * config.width;
  return plan;
}

}  // namespace codegen::model
