// SPDX-License-Identifier: Apache-2.0
//
// The block of CodeGen2.5, which is that of LLaMA (Touvron et al. 2023): RMSNorm before each half,
// SwiGLU inside the second (Shazeer 2020).
//
//   x += out(attention(qkv(RmsNorm(x))))        x += down(silu(gate(h)) up(h)),  h = RmsNorm(x)
#ifndef CODEGEN_MODEL_LLAMA_BLOCK_H_
#define CODEGEN_MODEL_LLAMA_BLOCK_H_

#include "model/weights.h"

namespace codegen::model {

template <backend::Backend B, class D = typename B::Device>
void ForwardBlock(B& b, const LlamaLayerOf<D>& layer, const backend::Rows& rows,
                  const backend::Heads& heads, typename D::KvLayer& kv, Activations<D>& a) {
  using backend::Then;
  b.RmsNorm(a.residual, layer.attention_norm, a.normed);
  b.Linear(a.normed, layer.qkv, Then::kStore, a.qkv);
  b.Attend(a.qkv, rows, heads, kv, a.attended);
  b.Linear(a.attended, layer.out, Then::kStore, a.branch);
  b.AllReduce(a.branch);
  b.Add(a.branch, a.residual);
  b.RmsNorm(a.residual, layer.mlp_norm, a.normed);
  b.Linear(a.normed, layer.gate_up, Then::kStore, a.inner);
  b.SwiGlu(a.inner, a.gated);
  b.Linear(a.gated, layer.down, Then::kStore, a.branch);
  b.AllReduce(a.branch);
  b.Add(a.branch, a.residual);
}

template <backend::Backend B, class D = typename B::Device>
void FinalNorm(B& b, const Weights<D, LlamaLayerOf<D>>& weights, Activations<D>& a) {
  b.RmsNorm(a.last, weights.final_norm, a.last_normed);
}

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_LLAMA_BLOCK_H_
