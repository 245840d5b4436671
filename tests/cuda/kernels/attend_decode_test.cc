// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/attend_decode.cuh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cuda/kernels/attention_step.h"
#include "cuda/kernels/decode.h"

namespace codegen::cuda {
namespace {

std::vector<RowGroup> DecodeGroups(const AttentionStep& step) {
  std::vector<RowGroup> groups;
  ForEachRowGroup(
      step.view(), [&](const RowGroup& group) { groups.push_back(group); },
      [](const RowGroup& group) { ADD_FAILURE() << group.rows << " rows to decode"; });
  return groups;
}

std::vector<float> Decoded(const AttentionStep& step, int blocks_per_head = 3) {
  const std::vector<RowGroup> groups = DecodeGroups(step);
  return step.Result(groups, [&](const AttendArgs& args) {
    const DecodeMemory memory(groups, args.heads, args.dim);
    PlanAndDecode(args, memory, blocks_per_head, nullptr);
    ASSERT_THAT(memory.Ready(), testing::Each(0)) << "or the next layer would count on from there";
  });
}

void ExpectDecoded(const AttentionStep& step) {
  const std::vector<float> result = Decoded(step);
  for (const RowGroup& group : DecodeGroups(step))
    ASSERT_NO_FATAL_FAILURE(step.ExpectRight(result, group));
}

TEST(AttendDecode, TakesHeadsOfEveryWidth) {
  for (const int dim : {8, 64, 80, 96, 128, 200, 256}) {
    SCOPED_TRACE(testing::Message() << "dim " << dim);
    const AttentionStep step({.heads = 2, .dim = dim}, {{.seed = 1, .position = 100, .rows = 1},
                                                        {.seed = 2, .position = 37, .rows = 8},
                                                        {.seed = 3, .position = 260, .rows = 2}});
    UnderEverySchedule([&] { ExpectDecoded(step); });
  }
}

TEST(AttendDecode, TakesHistoriesOfEveryLength) {
  std::vector<StepPart> parts;
  for (const int length : {1, 15, 16, 17, 63, 64, 65, 100, 255, 256, 257, 511, 512, 513, 700})
    parts.push_back(
        {.seed = static_cast<std::uint32_t>(length), .position = length - 1, .rows = 1});
  const AttentionStep step({.heads = 2, .dim = 64}, parts);
  UnderEverySchedule([&] { ExpectDecoded(step); });
}

// Among them some whose first rows do not reach into the split that the last ones do.
TEST(AttendDecode, TakesGroupsOfEverySize) {
  std::vector<StepPart> parts;
  for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8})
    for (const int position : {0, 14, 37, 254, 300})
      parts.push_back(
          {.seed = static_cast<std::uint32_t>(position), .position = position, .rows = rows});
  const AttentionStep step({.heads = 1, .dim = 80}, parts);
  UnderEverySchedule([&] { ExpectDecoded(step); });
}

TEST(AttendDecode, TakesScoresOfAnySize) {
  for (const float magnitude : {0.0F, 1e-20F, 30.0F, 1000.0F}) {
    SCOPED_TRACE(magnitude);
    simt::Reset();
    ExpectDecoded(AttentionStep({.heads = 2, .dim = 80},
                                {{.seed = 1, .position = 600, .rows = 4, .magnitude = magnitude}}));
  }
}

// The same rows, bit for bit, in whatever groups, beside whatever sequences, by however many
// blocks.
TEST(AttendDecode, ARowDependsOnItsHistoryOnly) {
  const StepShape shape{.heads = 1, .dim = 80};
  UnderEverySchedule([&] {
    for (const int position : {10, 252, 509}) {
      const std::vector<float> together =
          Decoded(AttentionStep(shape, {{.seed = 1, .position = position, .rows = 8}}), 1);
      for (const int rows : {1, 3}) {
        for (int i = 0; i + rows <= 8; i += rows) {
          const AttentionStep step(shape, {{.seed = 2, .position = 20, .rows = 5, .magnitude = 9},
                                           {.seed = 1, .position = position + i, .rows = rows},
                                           {.seed = 3, .position = 260, .rows = 1, .nan_at = 0}});
          const std::vector<float> result = Decoded(step, 1 + i);
          for (int row = 0; row < rows; ++row)
            ASSERT_EQ(RowOf(result, shape, 5 + row), RowOf(together, shape, i + row))
                << "row " << i + row << " in a group of " << rows << " from " << position;
        }
      }
    }
  });
}

TEST(AttendDecode, ANanInTheHistoryIsSeenByThoseAfterItOnly) {
  const StepShape shape{.heads = 1, .dim = 64};
  for (const int nan_at : {3, 254, 256, 259}) {
    simt::Reset();
    const std::vector<float> result =
        Decoded(AttentionStep(shape, {{.seed = 1, .position = 253, .rows = 8, .nan_at = nan_at}}));
    for (int row = 0; row < 8; ++row)
      EXPECT_EQ(std::isnan(RowOf(result, shape, row)[5]), 253 + row >= nan_at)
          << "row " << row << ", NaN at " << nan_at;
  }
}

TEST(AttendDecode, DoesNothingWithoutGroups) {
  const AttentionStep step({.heads = 2, .dim = 64}, {{.seed = 1, .position = 3, .rows = 1}});
  UnderEverySchedule([&] {
    const std::vector<float> result = step.Result({}, [](const AttendArgs& args) {
      const DecodeMemory memory({}, args.heads, args.dim);
      PlanAndDecode(args, memory, 2, nullptr);
      EXPECT_EQ(memory.Count(), 0);
    });
    for (const float element : result) ASSERT_TRUE(std::isnan(element));
  });
}

TEST(AttendDecode, RefusesHeadsThatItHasNoTileFor) {
  for (const int dim : {0, 4, 60, 264})
    EXPECT_EQ(AttendDecode({.attend = {.group_capacity = 1, .heads = 1, .dim = dim},
                            .plan = {},
                            .partial = {},
                            .blocks_per_head = 1},
                           nullptr),
              cudaErrorInvalidValue);
}

// A captured plan and decode.
class Replay {
 public:
  Replay(const AttendArgs& args, const DecodeMemory& memory) {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    PlanAndDecode(args, memory, 3, stream_);
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&graph_, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  }
  ~Replay() {
    EXPECT_EQ(cudaGraphExecDestroy(graph_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
  }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  void Run() {
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    ASSERT_EQ(cudaGraphLaunch(graph_, stream_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t graph_ = nullptr;
};

TEST(AttendDecode, AGraphDecodesOtherGroupsThanItWasCapturedWith) {
  const AttentionStep step({.heads = 2, .dim = 64}, {{.seed = 1, .position = 599, .rows = 1},
                                                     {.seed = 2, .position = 520, .rows = 1},
                                                     {.seed = 3, .position = 40, .rows = 1}});
  const std::vector<RowGroup> all = DecodeGroups(step);
  const RowGroup bad{-1, -1, -1, -1};
  const std::vector<Bf16> nothing(3 * 2 * 64, __float2bfloat16(std::nanf("")));
  UnderEverySchedule([&] {
    step.Result(all, [&](AttendArgs args) {
      const DecodeMemory memory({all[0], all[1]}, args.heads, args.dim);
      DeviceArray<RowGroup> groups({all[0], all[1]});
      DeviceArray<std::int32_t> count({2});
      DeviceArray<Bf16> y(nothing);
      args.y = y.data();
      args.groups = groups.data();
      args.count = count.data();
      args.group_capacity = 2;
      Replay replay(args, memory);

      for (const auto& wanted : {std::vector{all[0], all[1]}, {all[2], bad}, {all[1], all[2]}}) {
        groups.Set(wanted);
        const int exist = wanted[1].row < 0 ? 1 : 2;
        count.Set({exist});
        y.Set(nothing);
        ASSERT_NO_FATAL_FAILURE(replay.Run());
        const std::vector<float> result = Widened(y.Host());
        for (int g = 0; g < exist; ++g)
          ASSERT_NO_FATAL_FAILURE(step.ExpectRight(result, wanted[static_cast<std::size_t>(g)]));
      }
    });
  });
}

}  // namespace
}  // namespace codegen::cuda
