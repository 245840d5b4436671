// SPDX-License-Identifier: Apache-2.0
//
// One forward pass: embedding, blocks, and logits of the rows that want them.
#ifndef CODEGEN_MODEL_DECODER_H_
#define CODEGEN_MODEL_DECODER_H_

#include <vector>

#include "base/check.h"
#include "model/codegen_block.h"
#include "model/llama_block.h"
#include "model/shard.h"

namespace codegen::model {

// Returns the logits [rows.logit_rows.size(), vocabulary], which are one of the tensors of `a`.
// Requires: kv has one entry per layer with pages for all of `rows`; `a` was made by
// MakeActivations for enough rows.
template <backend::Backend B, class Layer, class D = typename B::Device>
const typename D::Tensor& Forward(B& b, const Weights<D, Layer>& weights, const backend::Rows& rows,
                                  std::vector<typename D::KvLayer>& kv, Activations<D>& a) {
  SetRows(a, rows);
  b.Embed(rows.tokens, weights.embedding, a.residual);
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    ForwardBlock(b, weights.layers[i], rows, weights.config.heads, kv[i], a);
  }
  b.Gather(a.residual, rows.logit_rows, a.last);
  FinalNorm(b, weights, a);
  b.Linear(a.last_normed, weights.head, backend::Then::kStore, a.logits);
  return b.AllGather(a.logits, a.all_logits);
}

template <backend::DeviceConcept D>
void SetRows(Activations<D>& a, const backend::Rows& rows) {
  for (auto* tensor :
       {&a.residual, &a.normed, &a.qkv, &a.attended, &a.inner, &a.gated, &a.branch}) {
    tensor->SetRows(rows.size());
  }
  for (auto* tensor : {&a.last, &a.last_normed, &a.logits, &a.all_logits}) {
    tensor->SetRows(static_cast<std::int64_t>(rows.logit_rows.size()));
  }
}

// `config` is that of the shard, one of `shards`. Errors: RESOURCE_EXHAUSTED.
template <backend::DeviceConcept D>
absl::StatusOr<Activations<D>> MakeActivations(D& device, const ModelConfig& config,
                                               std::int64_t rows, std::int64_t logit_rows,
                                               int shards = 1) {
  const bool gated = config.architecture == Architecture::kLlama;
  const std::int64_t width = config.width;
  const std::int64_t inner = config.inner;
  const std::int64_t attention = config.attention_width();
  const auto sums = [&device](std::int64_t capacity, std::int64_t columns) {
    return device.MakeTensor(capacity, columns, backend::Holds::kSums);
  };
  const auto factors = [&device](std::int64_t capacity, std::int64_t columns) {
    return device.MakeTensor(capacity, columns, backend::Holds::kFactors);
  };
  CODEGEN_ASSIGN_OR_RETURN(auto residual, sums(rows, width));
  CODEGEN_ASSIGN_OR_RETURN(auto normed, factors(rows, width));
  CODEGEN_ASSIGN_OR_RETURN(auto qkv, factors(rows, 3 * attention));
  CODEGEN_ASSIGN_OR_RETURN(auto attended, factors(rows, attention));
  CODEGEN_ASSIGN_OR_RETURN(auto inner_tensor, factors(rows, gated ? 2 * inner : inner));
  CODEGEN_ASSIGN_OR_RETURN(auto gated_tensor, factors(rows, gated ? inner : 0));
  CODEGEN_ASSIGN_OR_RETURN(auto branch, sums(rows, width));
  CODEGEN_ASSIGN_OR_RETURN(auto last, sums(logit_rows, width));
  CODEGEN_ASSIGN_OR_RETURN(auto last_normed, factors(logit_rows, width));
  CODEGEN_ASSIGN_OR_RETURN(auto logits, sums(logit_rows, HeadRows(config, shards)));
  CODEGEN_ASSIGN_OR_RETURN(auto all_logits, sums(logit_rows, shards > 1 ? config.vocabulary : 0));
  return Activations<D>{std::move(residual), std::move(normed),       std::move(qkv),
                        std::move(attended), std::move(inner_tensor), std::move(gated_tensor),
                        std::move(branch),   std::move(last),         std::move(last_normed),
                        std::move(logits),   std::move(all_logits)};
}

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_DECODER_H_
