// SPDX-License-Identifier: Apache-2.0
#include "model/memory_plan.h"

#include "model/weight_names.h"
#include "quant/format.h"

namespace codegen::model {

MemoryPlan PlanMemory(const ModelConfig& config) {
  MemoryPlan plan;
  for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
    plan.parameters += tensor.elements();
    if (tensor.is_matrix()) plan.matrix_elements += tensor.elements();
  }
  const OuterNames outer = Outer(config);
  plan.head_elements = outer.head.elements();
  plan.embedding_elements = outer.embedding.elements();
  return plan;
}

std::int64_t WeightBytes(const ModelConfig& config, const WantedFormats& formats) {
  std::int64_t bytes = 0;
  for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
    const WeightFormat format = HeldFormat(RandomSource(), tensor, formats);
    bytes += quant::MatrixBytes(format, tensor.rows(), tensor.columns());
  }
  return bytes;
}

std::int64_t KvBytesPerToken(const ModelConfig& config, KvFormat format) {
  const std::int64_t item_bytes = format == KvFormat::kBf16 ? 2 : 4;
  return 2 * item_bytes * config.layers * config.width;
}

}  // namespace codegen::model
