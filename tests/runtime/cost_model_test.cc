// SPDX-License-Identifier: Apache-2.0
#include "runtime/cost_model.h"

#include <gtest/gtest.h>

namespace codegen::runtime {
namespace {

TEST(CostModel, KnowsNothingAtFirst) {
  const CostModel cost;
  EXPECT_EQ(cost.PromptSeconds(1000), 0);
  EXPECT_EQ(cost.TokenSeconds(1000), 0);
}

TEST(CostModel, SeparatesPromptsFromContinuations) {
  CostModel cost;
  for (int i = 0; i < 100; ++i) {
    cost.Observe(0.010, 0);
    cost.Observe(0.010 + 200 * 0.0005, 200);
  }
  EXPECT_NEAR(cost.TokenSeconds(50), 0.5, 1e-6);
  EXPECT_NEAR(cost.PromptSeconds(1000), 0.51, 1e-6);
}

TEST(CostModel, FollowsAMachineThatGetsSlower) {
  CostModel cost;
  for (int i = 0; i < 100; ++i) cost.Observe(0.010, 0);
  for (int i = 0; i < 200; ++i) cost.Observe(0.020, 0);
  EXPECT_NEAR(cost.TokenSeconds(1), 0.020, 1e-4);
}

}  // namespace
}  // namespace codegen::runtime
