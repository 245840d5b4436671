// SPDX-License-Identifier: Apache-2.0
//
// The one list of all that a model keeps on a device: the name and outline of each object, in the
// order in which a step reads them. Saving, making and filling a model are three visits to it.
#ifndef CODEGEN_MODEL_WEIGHT_TABLE_H_
#define CODEGEN_MODEL_WEIGHT_TABLE_H_

#include <absl/status/status.h>
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "backend/savable.h"
#include "base/check.h"
#include "model/model_config.h"

namespace codegen::model {

// Names are "embedding", "blocks.0.qkv", "final_norm", ... In the outline of a matrix the format is
// left open.
struct WeightEntry {
  std::string name;
  backend::Outline outline;
};

// Makes the entries of one model.
class WeightEntries {
 public:
  explicit WeightEntries(const ModelConfig& config) : config_(config) {}

  WeightEntry Matrix(std::string name, std::int64_t rows, std::int64_t columns,
                     backend::Bias bias = backend::Bias::kNone) const {
    return {std::move(name), {.rows = rows, .columns = columns, .bias = bias}};
  }
  // LayerNorm has a bias, RMSNorm none.
  WeightEntry Norm(std::string name) const {
    return {std::move(name),
            {.columns = config_.width, .bias = OuterBias(), .epsilon = config_.norm_epsilon}};
  }
  backend::Bias OuterBias() const {
    return config_.architecture == Architecture::kCodeGen ? backend::Bias::kVector
                                                          : backend::Bias::kNone;
  }

 private:
  const ModelConfig& config_;
};

// Calls visit(entry, object) for each object of a layer until one fails. Layer is CodeGenLayerOf or
// LlamaLayerOf of weights.h, const or not.
template <class Layer, class Visit>
absl::Status VisitLayer(const ModelConfig& config, const std::string& prefix, Layer& layer,
                        const Visit& visit) {
  const WeightEntries entries(config);
  const std::int64_t width = config.width;
  const std::int64_t inner = config.inner;
  if constexpr (requires { layer.gate_up; }) {
    CODEGEN_RETURN_IF_ERROR(visit(entries.Norm(prefix + "attention_norm"), layer.attention_norm));
    CODEGEN_RETURN_IF_ERROR(visit(entries.Matrix(prefix + "qkv", 3 * width, width), layer.qkv));
    CODEGEN_RETURN_IF_ERROR(visit(entries.Matrix(prefix + "out", width, width), layer.out));
    CODEGEN_RETURN_IF_ERROR(visit(entries.Norm(prefix + "mlp_norm"), layer.mlp_norm));
    CODEGEN_RETURN_IF_ERROR(
        visit(entries.Matrix(prefix + "gate_up", 2 * inner, width), layer.gate_up));
    return visit(entries.Matrix(prefix + "down", width, inner), layer.down);
  } else {
    constexpr auto kBias = backend::Bias::kVector;
    CODEGEN_RETURN_IF_ERROR(visit(entries.Norm(prefix + "norm"), layer.norm));
    CODEGEN_RETURN_IF_ERROR(visit(entries.Matrix(prefix + "qkv", 3 * width, width), layer.qkv));
    CODEGEN_RETURN_IF_ERROR(visit(entries.Matrix(prefix + "out", width, width), layer.out));
    CODEGEN_RETURN_IF_ERROR(visit(entries.Matrix(prefix + "up", inner, width, kBias), layer.up));
    return visit(entries.Matrix(prefix + "down", width, inner, kBias), layer.down);
  }
}

// The same for a whole model, Weights of weights.h, whose config and number of layers are set.
template <class Weights, class Visit>
absl::Status VisitWeights(Weights& weights, const Visit& visit) {
  const ModelConfig& config = weights.config;
  const WeightEntries entries(config);
  CODEGEN_RETURN_IF_ERROR(
      visit(entries.Matrix("embedding", config.vocabulary, config.width), weights.embedding));
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    CODEGEN_RETURN_IF_ERROR(
        VisitLayer(config, fmt::format("blocks.{}.", i), weights.layers[i], visit));
  }
  CODEGEN_RETURN_IF_ERROR(visit(entries.Norm("final_norm"), weights.final_norm));
  return visit(entries.Matrix("head", config.vocabulary, config.width, entries.OuterBias()),
               weights.head);
}

// Calls visit(name, part) for each part of an object until one fails; names as in saved_model.h.
template <backend::SavableDevice D, class Object, class Visit>
absl::Status VisitParts(const WeightEntry& entry, Object& object, const Visit& visit) {
  for (const auto& part : D::PartsOf(object, entry.outline.bias))
    CODEGEN_RETURN_IF_ERROR(visit(fmt::format("{}.{}", entry.name, part.name), part));
  return absl::OkStatus();
}

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_WEIGHT_TABLE_H_
