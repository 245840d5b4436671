// SPDX-License-Identifier: Apache-2.0
#include "runtime/delivery.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace codegen::runtime {
namespace {

using Clock = std::chrono::steady_clock;

class Work final : public Recipient {
 public:
  explicit Work(std::function<void(Delivery&)> work) : work_(std::move(work)) {}
  void Receive(Delivery& delivery) noexcept override { work_(delivery); }

 private:
  const std::function<void(Delivery&)> work_;
};

std::shared_ptr<Work> Make(std::function<void(Delivery&)> work) {
  return std::make_shared<Work>(std::move(work));
}

TEST(Delivery, RunsWhatIsScheduledOnAnotherThread) {
  const auto delivery = *Delivery::Create();
  std::promise<std::thread::id> ran;
  delivery->Schedule(Make([&](Delivery&) { ran.set_value(std::this_thread::get_id()); }));
  EXPECT_NE(ran.get_future().get(), std::this_thread::get_id());
  delivery->Stop(Time::max());
}

TEST(Delivery, CallsThatStayAwayHoldNobodyElseUp) {
  const auto delivery = *Delivery::Create();
  std::promise<void> gate;
  const std::shared_future<void> open = gate.get_future().share();
  constexpr int kAway = 40;
  std::atomic<int> away = 0;
  std::vector<std::promise<void>> gone(kAway);
  for (int i = 0; i < kAway; ++i) {
    delivery->Schedule(Make([&, i](Delivery& own) {
      const Delivery::Away leave(own);
      ++away;
      gone[static_cast<std::size_t>(i)].set_value();
      open.wait();
    }));
  }
  for (std::promise<void>& one : gone) one.get_future().wait();

  std::promise<void> ran;
  delivery->Schedule(Make([&](Delivery&) { ran.set_value(); }));

  ran.get_future().wait();
  EXPECT_EQ(away, kAway);
  gate.set_value();
  delivery->Stop(Time::max());
}

TEST(Delivery, StopLetsRunWhatWasScheduledBefore) {
  const auto delivery = *Delivery::Create();
  std::atomic<int> ran = 0;
  for (int i = 0; i < 1000; ++i) delivery->Schedule(Make([&](Delivery&) { ++ran; }));
  delivery->Stop(Time::max());
  EXPECT_EQ(ran, 1000);
}

TEST(Delivery, StopDoesNotWaitBeyondItsDeadline) {
  const auto delivery = *Delivery::Create();
  std::promise<void> gate;
  const std::shared_future<void> open = gate.get_future().share();
  std::promise<void> entered;
  std::promise<void> left;
  delivery->Schedule(Make([&, open](Delivery& own) {
    const Delivery::Away leave(own);
    entered.set_value();
    open.wait();
    left.set_value();
  }));
  entered.get_future().wait();

  delivery->Stop(Clock::now() + std::chrono::milliseconds(20));

  gate.set_value();
  left.get_future().wait();
}

TEST(Delivery, StopFromItsOwnThreadDoesNotWaitForIt) {
  const auto delivery = *Delivery::Create();
  std::promise<bool> own_thread;
  delivery->Schedule(Make([&](Delivery& own) {
    own.Stop(Time::max());
    own_thread.set_value(own.IsOwnThread());
  }));
  EXPECT_TRUE(own_thread.get_future().get());
  EXPECT_FALSE(delivery->IsOwnThread());
  delivery->Stop(Time::max());
}

}  // namespace
}  // namespace codegen::runtime
