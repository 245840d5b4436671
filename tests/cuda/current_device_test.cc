// SPDX-License-Identifier: Apache-2.0
#include "cuda/current_device.h"

#include <gtest/gtest.h>

#include <utility>

#include "support/simt/runtime/control.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

int Current() {
  int device = -1;
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  return device;
}

TEST(CurrentDevice, LastsForAScope) {
  simt::Reset({.devices = 3});
  ASSERT_EQ(cudaSetDevice(2), cudaSuccess);

  {
    const absl::StatusOr<CurrentDevice> outer = CurrentDevice::Choose(1);
    ASSERT_THAT(outer, IsOk());
    EXPECT_EQ(Current(), 1);
    {
      const absl::StatusOr<CurrentDevice> inner = CurrentDevice::Choose(0);
      EXPECT_EQ(Current(), 0);
    }
    EXPECT_EQ(Current(), 1);
  }

  EXPECT_EQ(Current(), 2);
  simt::Reset();
}

TEST(CurrentDevice, RestoresOnceWhenMoved) {
  simt::Reset({.devices = 3});
  {
    absl::StatusOr<CurrentDevice> first = CurrentDevice::Choose(1);
    ASSERT_THAT(first, IsOk());
    {
      const CurrentDevice second = *std::move(first);
      EXPECT_EQ(Current(), 1);
    }
    EXPECT_EQ(Current(), 0);
    ASSERT_EQ(cudaSetDevice(2), cudaSuccess);
  }

  EXPECT_EQ(Current(), 2);
  simt::Reset();
}

TEST(CurrentDevice, HasToExist) {
  simt::Reset();
  EXPECT_THAT(CurrentDevice::Choose(1),
              StatusIs(absl::StatusCode::kFailedPrecondition, "no GPU of that number"));
  EXPECT_EQ(Current(), 0);

  simt::Reset({.driver = simt::Driver::kMissing});
  EXPECT_THAT(CurrentDevice::Choose(0),
              StatusIs(absl::StatusCode::kFailedPrecondition, "no NVIDIA driver"));
  simt::Reset();
}

}  // namespace
}  // namespace codegen::cuda
