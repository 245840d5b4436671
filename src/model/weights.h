// SPDX-License-Identifier: Apache-2.0
//
// The weights of the two architectures as they lie on a device. Of a shard (shard.h), A is the
// width of its heads, F its part of the inner size and V its rows of the output matrix; of a whole
// model A is E.
#ifndef CODEGEN_MODEL_WEIGHTS_H_
#define CODEGEN_MODEL_WEIGHTS_H_

#include <vector>

#include "backend/backend.h"
#include "model/model_config.h"

namespace codegen::model {

// One block of CodeGen1 and 2, with E the width and F the inner size.
template <backend::DeviceConcept D>
struct CodeGenLayerOf {
  typename D::Norm norm;    // LayerNorm [E]
  typename D::Weight qkv;   // [3A, E]: query, key, value; no bias
  typename D::Weight out;   // [E, A], no bias
  typename D::Weight up;    // [F, E]
  typename D::Weight down;  // [E, F]
};

// One block of a LLaMA-type model.
template <backend::DeviceConcept D>
struct LlamaLayerOf {
  typename D::Norm attention_norm;  // RMSNorm [E]
  typename D::Weight qkv;           // [3A, E]: query, key, value
  typename D::Weight out;           // [E, A]
  typename D::Norm mlp_norm;        // RMSNorm [E]
  typename D::Weight gate_up;       // [2F, E]: gate, up
  typename D::Weight down;          // [E, F]
};

// A whole model; Layer is one of the above.
template <backend::DeviceConcept D, class Layer>
struct Weights {
  ModelConfig config;
  typename D::Embedding embedding;  // whole
  std::vector<Layer> layers;
  typename D::Norm final_norm;  // [E]
  typename D::Weight head;      // [V, E]
};

// Activations of one step, made once for `rows` rows at most and reused by every layer.
template <backend::DeviceConcept D>
struct Activations {
  typename D::Tensor residual;     // x [rows, E]
  typename D::Tensor normed;       // [rows, E]
  typename D::Tensor qkv;          // [rows, 3A]
  typename D::Tensor attended;     // [rows, A]
  typename D::Tensor inner;        // [rows, F], of gate and up together [rows, 2F]
  typename D::Tensor gated;        // [rows, F]
  typename D::Tensor branch;       // what a block adds to x [rows, E]
  typename D::Tensor last;         // the rows that want logits [logit rows, E]
  typename D::Tensor last_normed;  // [logit rows, E]
  typename D::Tensor logits;       // [logit rows, V]
  typename D::Tensor all_logits;   // of all shards, where there are several
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_WEIGHTS_H_
