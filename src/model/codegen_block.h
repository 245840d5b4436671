// SPDX-License-Identifier: Apache-2.0
//
// The block of CodeGen1 and 2 (Nijkamp et al. 2022, 2023; after GPT-J, Wang and Komatsuzaki 2021):
// attention and feed-forward layer read the same LayerNorm and are added to the residual together,
// so several ranks meet once.
//
//   h = LayerNorm(x)        x += out(attention(qkv(h))) + down(gelu(up(h)))
#ifndef CODEGEN_MODEL_CODEGEN_BLOCK_H_
#define CODEGEN_MODEL_CODEGEN_BLOCK_H_

#include "model/weights.h"

namespace codegen::model {

template <backend::Backend B, class D = typename B::Device>
void ForwardBlock(B& b, const CodeGenLayerOf<D>& layer, const backend::Rows& rows,
                  const backend::Heads& heads, typename D::KvLayer& kv, Activations<D>& a) {
  using backend::Then;
  b.LayerNorm(a.residual, layer.norm, a.normed);
  b.Linear(a.normed, layer.qkv, Then::kStore, a.qkv);
  b.Attend(a.qkv, rows, heads, kv, a.attended);
  b.Linear(a.normed, layer.up, Then::kGelu, a.inner);
  b.Linear(a.attended, layer.out, Then::kStore, a.branch);
  b.Linear(a.inner, layer.down, Then::kAdd, a.branch);
  b.AllReduce(a.branch);
  b.Add(a.branch, a.residual);
}

template <backend::Backend B, class D = typename B::Device>
void FinalNorm(B& b, const Weights<D, CodeGenLayerOf<D>>& weights, Activations<D>& a) {
  b.LayerNorm(a.last, weights.final_norm, a.last_normed);
}

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_CODEGEN_BLOCK_H_
