// SPDX-License-Identifier: Apache-2.0
//
// The tensors that a checkpoint must hold, by the names that Hugging Face gives them.
#ifndef CODEGEN_MODEL_WEIGHT_NAMES_H_
#define CODEGEN_MODEL_WEIGHT_NAMES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/model_config.h"

namespace codegen::model {

// Where a matrix belongs: formats are chosen for the blocks and for the two others apart.
enum class Place { kBlock, kEmbedding, kHead };

// A matrix [rows, columns] as torch's Linear stores it ([outputs, inputs]), or a vector [columns].
struct ExpectedTensor {
  std::string name = {};
  std::vector<std::int64_t> shape = {};
  Place place = Place::kBlock;

  bool is_matrix() const { return shape.size() == 2; }
  std::int64_t rows() const { return is_matrix() ? shape[0] : 1; }
  std::int64_t columns() const { return shape.back(); }
  std::int64_t elements() const { return rows() * columns(); }
};

// One block of CodeGen1 and 2.
struct CodeGenLayerNames {
  ExpectedTensor norm_gain, norm_bias, qkv, out, up, up_bias, down, down_bias;
};

// One block of a LLaMA-type model.
struct LlamaLayerNames {
  ExpectedTensor attention_norm, q, k, v, out, mlp_norm, gate, up, down;
};

// What surrounds the blocks. Biases are unnamed (empty name) where the architecture has none.
struct OuterNames {
  ExpectedTensor embedding, final_gain, final_bias, head, head_bias;
};

CodeGenLayerNames CodeGenLayer(const ModelConfig& config, int layer);
LlamaLayerNames LlamaLayer(const ModelConfig& config, int layer);
OuterNames Outer(const ModelConfig& config);

// Every tensor of a model.
std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& config);

// Whether a name is a buffer that published files hold and no model needs: causal masks
// (attn.causal_mask, attn.bias, attn.masked_bias) and rotary frequencies (rotary_emb.inv_freq).
bool IsIgnoredBuffer(std::string_view name);

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_WEIGHT_NAMES_H_
