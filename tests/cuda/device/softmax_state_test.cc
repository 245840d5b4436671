// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/softmax_state.cuh"

#include <gtest/gtest.h>

#include <cmath>

namespace codegen::cuda {
namespace {

TEST(SoftmaxState, PartsAddUpToTheWhole) {
  const float scores[] = {-3, 5, 0.5F, 90, 89, -200};
  const double values[] = {1, 2, 3, 4, 5, 6};
  SoftmaxState state;
  double sum = 0;

  for (int i = 0; i < 6; ++i) {
    sum *= state.Raise(scores[i]);
    const float weight = SoftmaxWeight(scores[i], state.max);
    state.sum += weight;
    sum += weight * values[i];
  }

  EXPECT_EQ(state.max, 90);
  EXPECT_FLOAT_EQ(state.sum, 1.5);
  EXPECT_DOUBLE_EQ(sum / state.sum, (4 + 0.5 * 5) / 1.5);
}

TEST(SoftmaxState, WhatDoesNotCountChangesNothing) {
  SoftmaxState state;

  EXPECT_EQ(state.Raise(-INFINITY), 0);
  EXPECT_EQ(SoftmaxWeight(-INFINITY, state.max), 0);
  EXPECT_EQ(state.sum, 0);
  EXPECT_EQ(state.Raise(3), 0);
  state.sum += SoftmaxWeight(3, state.max);

  EXPECT_EQ(state.Raise(-INFINITY), 1);
  EXPECT_EQ(SoftmaxWeight(-INFINITY, state.max), 0);
  EXPECT_EQ(state.max, 3);
  EXPECT_EQ(state.sum, 1);
}

TEST(SoftmaxState, NanStays) {
  SoftmaxState state;
  state.Raise(NAN);
  state.sum += SoftmaxWeight(NAN, state.max);

  state.Raise(3);
  state.sum += SoftmaxWeight(3, state.max);

  EXPECT_TRUE(std::isnan(state.sum));
}

}  // namespace
}  // namespace codegen::cuda
