// SPDX-License-Identifier: Apache-2.0
//
// Planning and decoding some row groups, in tests.
#ifndef CODEGEN_TESTS_CUDA_KERNELS_DECODE_H_
#define CODEGEN_TESTS_CUDA_KERNELS_DECODE_H_

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/kernels/attend_decode.cuh"
#include "cuda/kernels/device_array.h"

namespace codegen::cuda {

// Exactly the memory that a decode of `groups` by `heads` needs; what it starts with is of no
// importance.
class DecodeMemory {
 public:
  DecodeMemory(const std::vector<RowGroup>& groups, int heads, int dim)
      : splits_(std::vector<Split>(Total(groups, SplitsOf), {-1, -1, -1, -1})),
        count_({-1}),
        ready_(std::vector<std::uint32_t>(groups.size() * static_cast<std::size_t>(heads), 77)),
        o_(std::vector<float>(Total(groups, SlotsOf) * static_cast<std::size_t>(heads * dim),
                              std::nanf(""))),
        state_(std::vector<float2>(Total(groups, SlotsOf) * static_cast<std::size_t>(heads),
                                   {std::nanf(""), std::nanf("")})) {}

  SplitPlan plan() const { return {splits_.data(), count_.data(), ready_.data()}; }
  PartialResults partial() const { return {o_.data(), state_.data()}; }

  std::vector<Split> Splits() const { return splits_.Host(); }
  std::int32_t Count() const { return count_.Host()[0]; }
  std::vector<std::uint32_t> Ready() const { return ready_.Host(); }

 private:
  static std::size_t Total(const std::vector<RowGroup>& groups, int (*of)(const RowGroup&)) {
    int total = 0;
    for (const RowGroup& group : groups) total += of(group);
    return static_cast<std::size_t>(total);
  }

  DeviceArray<Split> splits_;
  DeviceArray<std::int32_t> count_;
  DeviceArray<std::uint32_t> ready_;
  DeviceArray<float> o_;
  DeviceArray<float2> state_;
};

// Plans and decodes what `attend` says in `memory`.
inline void PlanAndDecode(const AttendArgs& attend, const DecodeMemory& memory, int blocks_per_head,
                          cudaStream_t stream) {
  EXPECT_EQ(PlanSplits({.groups = attend.groups,
                        .count = attend.count,
                        .plan = memory.plan(),
                        .heads = attend.heads},
                       stream),
            cudaSuccess);
  EXPECT_EQ(AttendDecode({.attend = attend,
                          .plan = memory.plan(),
                          .partial = memory.partial(),
                          .blocks_per_head = blocks_per_head},
                         stream),
            cudaSuccess);
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_CUDA_KERNELS_DECODE_H_
