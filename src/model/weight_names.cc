// SPDX-License-Identifier: Apache-2.0
#include "model/weight_names.h"

#include <fmt/format.h>

#include <utility>

namespace codegen::model {
namespace {

ExpectedTensor Vector(std::string name, std::int64_t size) { return {std::move(name), {size}}; }

}  // namespace

CodeGenLayerNames CodeGenLayer(const ModelConfig& config, int layer) {
  const std::string prefix = fmt::format("transformer.h.{}.", layer);
  const std::int64_t width = config.width;
  const std::int64_t inner = config.inner;
  return {.norm_gain = Vector(prefix + "ln_1.weight", width),
          .norm_bias = Vector(prefix + "ln_1.bias", width),
          .qkv = {prefix + "attn.qkv_proj.weight", {3 * width, width}},
          .out = {prefix + "attn.out_proj.weight", {width, width}},
          .up = {prefix + "mlp.fc_in.weight", {inner, width}},
          .up_bias = Vector(prefix + "mlp.fc_in.bias", inner),
          .down = {prefix + "mlp.fc_out.weight", {width, inner}},
          .down_bias = Vector(prefix + "mlp.fc_out.bias", width)};
}

LlamaLayerNames LlamaLayer(const ModelConfig& config, int layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const std::int64_t width = config.width;
  const std::int64_t inner = config.inner;
  return {.attention_norm = Vector(prefix + "input_layernorm.weight", width),
          .q = {prefix + "self_attn.q_proj.weight", {width, width}},
          .k = {prefix + "self_attn.k_proj.weight", {width, width}},
          .v = {prefix + "self_attn.v_proj.weight", {width, width}},
          .out = {prefix + "self_attn.o_proj.weight", {width, width}},
          .mlp_norm = Vector(prefix + "post_attention_layernorm.weight", width),
          .gate = {prefix + "mlp.gate_proj.weight", {inner, width}},
          .up = {prefix + "mlp.up_proj.weight", {inner, width}},
          .down = {prefix + "mlp.down_proj.weight", {width, inner}}};
}

OuterNames Outer(const ModelConfig& config) {
  const std::int64_t width = config.width;
  const std::int64_t vocabulary = config.vocabulary;
  if (config.architecture == Architecture::kLlama) {
    return {.embedding = {"model.embed_tokens.weight", {vocabulary, width}, Place::kEmbedding},
            .final_gain = Vector("model.norm.weight", width),
            .final_bias = {},
            .head = {"lm_head.weight", {vocabulary, width}, Place::kHead},
            .head_bias = {}};
  }
  return {.embedding = {"transformer.wte.weight", {vocabulary, width}, Place::kEmbedding},
          .final_gain = Vector("transformer.ln_f.weight", width),
          .final_bias = Vector("transformer.ln_f.bias", width),
          .head = {"lm_head.weight", {vocabulary, width}, Place::kHead},
          .head_bias = Vector("lm_head.bias", vocabulary)};
}

std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& config) {
  const OuterNames outer = Outer(config);
  std::vector<ExpectedTensor> all = {outer.embedding};
  for (int i = 0; i < config.layers; ++i) {
    if (config.architecture == Architecture::kCodeGen) {
      const CodeGenLayerNames layer = CodeGenLayer(config, i);
      all.insert(all.end(), {layer.norm_gain, layer.norm_bias, layer.qkv, layer.out, layer.up,
                             layer.up_bias, layer.down, layer.down_bias});
    } else {
      const LlamaLayerNames layer = LlamaLayer(config, i);
      all.insert(all.end(), {layer.attention_norm, layer.q, layer.k, layer.v, layer.out,
                             layer.mlp_norm, layer.gate, layer.up, layer.down});
    }
  }
  for (const ExpectedTensor& tensor :
       {outer.final_gain, outer.final_bias, outer.head, outer.head_bias}) {
    if (!tensor.name.empty()) all.push_back(tensor);
  }
  return all;
}

bool IsIgnoredBuffer(std::string_view name) {
  if (name.starts_with("transformer.h.")) {
    return name.ends_with(".attn.causal_mask") || name.ends_with(".attn.bias") ||
           name.ends_with(".attn.masked_bias");
  }
  return name.starts_with("model.layers.") && name.ends_with(".rotary_emb.inv_freq");
}

}  // namespace codegen::model
