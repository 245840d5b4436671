// SPDX-License-Identifier: Apache-2.0
#include "model/weight_names.h"

#include <fmt/format.h>

#include <initializer_list>
#include <utility>

namespace codegen::model {
namespace {

// Names are filled in member by member: where an allocation fails inside nested braces, GCC 12
// destroys what it has built twice.
ExpectedTensor Tensor(std::string name, std::initializer_list<std::int64_t> shape, Place place) {
  ExpectedTensor tensor;
  tensor.name = std::move(name);
  tensor.shape = shape;
  tensor.place = place;
  return tensor;
}

ExpectedTensor Vector(std::string name, std::int64_t size) {
  return Tensor(std::move(name), {size}, Place::kBlock);
}

ExpectedTensor Matrix(std::string name, std::int64_t rows, std::int64_t columns,
                      Place place = Place::kBlock) {
  return Tensor(std::move(name), {rows, columns}, place);
}

}  // namespace

CodeGenLayerNames CodeGenLayer(const ModelConfig& config, int layer) {
  const std::string prefix = fmt::format("transformer.h.{}.", layer);
  const std::int64_t width = config.width;
  const std::int64_t inner = config.inner;
  CodeGenLayerNames names;
  names.norm_gain = Vector(prefix + "ln_1.weight", width);
  names.norm_bias = Vector(prefix + "ln_1.bias", width);
  names.qkv = Matrix(prefix + "attn.qkv_proj.weight", 3 * width, width);
  names.out = Matrix(prefix + "attn.out_proj.weight", width, width);
  names.up = Matrix(prefix + "mlp.fc_in.weight", inner, width);
  names.up_bias = Vector(prefix + "mlp.fc_in.bias", inner);
  names.down = Matrix(prefix + "mlp.fc_out.weight", width, inner);
  names.down_bias = Vector(prefix + "mlp.fc_out.bias", width);
  return names;
}

LlamaLayerNames LlamaLayer(const ModelConfig& config, int layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const std::int64_t width = config.width;
  const std::int64_t inner = config.inner;
  LlamaLayerNames names;
  names.attention_norm = Vector(prefix + "input_layernorm.weight", width);
  names.q = Matrix(prefix + "self_attn.q_proj.weight", width, width);
  names.k = Matrix(prefix + "self_attn.k_proj.weight", width, width);
  names.v = Matrix(prefix + "self_attn.v_proj.weight", width, width);
  names.out = Matrix(prefix + "self_attn.o_proj.weight", width, width);
  names.mlp_norm = Vector(prefix + "post_attention_layernorm.weight", width);
  names.gate = Matrix(prefix + "mlp.gate_proj.weight", inner, width);
  names.up = Matrix(prefix + "mlp.up_proj.weight", inner, width);
  names.down = Matrix(prefix + "mlp.down_proj.weight", width, inner);
  return names;
}

OuterNames Outer(const ModelConfig& config) {
  const std::int64_t width = config.width;
  const std::int64_t vocabulary = config.vocabulary;
  OuterNames names;
  names.head = Matrix("lm_head.weight", vocabulary, width, Place::kHead);
  if (config.architecture == Architecture::kLlama) {
    names.embedding = Matrix("model.embed_tokens.weight", vocabulary, width, Place::kEmbedding);
    names.final_gain = Vector("model.norm.weight", width);
  } else {
    names.embedding = Matrix("transformer.wte.weight", vocabulary, width, Place::kEmbedding);
    names.final_gain = Vector("transformer.ln_f.weight", width);
    names.final_bias = Vector("transformer.ln_f.bias", width);
    names.head_bias = Vector("lm_head.bias", vocabulary);
  }
  return names;
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
  for (const ExpectedTensor* tensor :
       {&outer.final_gain, &outer.final_bias, &outer.head, &outer.head_bias}) {
    if (!tensor->name.empty()) all.push_back(*tensor);
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
