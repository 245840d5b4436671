// SPDX-License-Identifier: Apache-2.0
#include "runtime/watchdog.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace codegen::runtime {
namespace {

TEST(Watchdog, BarksWhenWhatBeganDoesNotEnd) {
  std::promise<void> barked;
  const auto watchdog =
      Watchdog::Create(std::chrono::milliseconds(10), [&] { barked.set_value(); });
  ASSERT_TRUE(watchdog.ok()) << watchdog.status();
  (*watchdog)->Begin();
  barked.get_future().wait();
}

TEST(Watchdog, BarksThoughManyEndedBefore) {
  std::promise<void> barked;
  const auto watchdog =
      Watchdog::Create(std::chrono::milliseconds(10), [&] { barked.set_value(); });
  for (int i = 0; i < 1000; ++i) {
    (*watchdog)->Begin();
    (*watchdog)->End();
  }
  (*watchdog)->Begin();
  barked.get_future().wait();
}

TEST(Watchdog, KeepsQuietWhileAllEnds) {
  std::atomic<int> barks = 0;
  {
    const auto watchdog = Watchdog::Create(std::chrono::hours(1), [&] { ++barks; });
    for (int i = 0; i < 1000; ++i) {
      (*watchdog)->Begin();
      (*watchdog)->End();
    }
    (*watchdog)->Begin();
  }
  EXPECT_EQ(barks, 0);
}

}  // namespace
}  // namespace codegen::runtime
