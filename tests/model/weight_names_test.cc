// SPDX-License-Identifier: Apache-2.0
#include "model/weight_names.h"

#include <gtest/gtest.h>

#include "model/memory_plan.h"

namespace codegen::model {
namespace {

ModelConfig CodeGenShape(int layers, int width) {
  ModelConfig config;
  config.architecture = Architecture::kCodeGen;
  config.layers = layers;
  config.width = width;
  config.inner = 4 * width;
  config.vocabulary = 51200;
  return config;
}

// The published parameter counts.
TEST(WeightNames, AddUpToThePublishedParameters) {
  EXPECT_EQ(PlanMemory(CodeGenShape(20, 1024)).parameters, 356'712'448);     // CodeGen1-350M
  EXPECT_EQ(PlanMemory(CodeGenShape(33, 4096)).parameters, 7'064'213'504);   // CodeGen1-6B
  EXPECT_EQ(PlanMemory(CodeGenShape(16, 2048)).parameters, 1'015'306'240);   // CodeGen2-1B
  EXPECT_EQ(PlanMemory(CodeGenShape(34, 6144)).parameters, 16'032'155'648);  // CodeGen2-16B
  ModelConfig llama = CodeGenShape(32, 4096);
  llama.architecture = Architecture::kLlama;
  llama.inner = 11008;
  EXPECT_EQ(PlanMemory(llama).parameters, 6'895'702'016);  // CodeGen2.5-7B
}

TEST(WeightNames, IgnoreTheBuffersOfPublishedFiles) {
  for (const char* name :
       {"transformer.h.0.attn.causal_mask", "transformer.h.19.attn.bias",
        "transformer.h.3.attn.masked_bias", "model.layers.31.self_attn.rotary_emb.inv_freq"}) {
    EXPECT_TRUE(IsIgnoredBuffer(name)) << name;
  }
  for (const char* name :
       {"transformer.h.0.mlp.fc_in.bias", "transformer.ln_f.bias", "attn.bias", "lm_head.bias"}) {
    EXPECT_FALSE(IsIgnoredBuffer(name)) << name;
  }
}

}  // namespace
}  // namespace codegen::model
