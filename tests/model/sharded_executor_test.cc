// SPDX-License-Identifier: Apache-2.0
//
// The threads of the ranks; what they compute is compared with whole models in executor_test.cc.
#include "model/sharded_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "comm/thread_group.h"

namespace codegen::model {
namespace {

using ::testing::HasSubstr;

// Does what a test says.
class Scripted final : public Executor {
 public:
  using Script = std::function<absl::Status(const backend::Rows&, const StepOutput&)>;
  explicit Scripted(Script script) : script_(std::move(script)) {}
  absl::Status Step(const backend::Rows& rows, const StepOutput& output) override {
    return script_(rows, output);
  }

 private:
  Script script_;
};

// An executor of ranks that each run script(communicator, rows, output).
std::unique_ptr<Executor> Make(
    int ranks,
    const std::function<absl::Status(comm::Communicator&, const backend::Rows&, const StepOutput&)>&
        script) {
  const auto communicators = comm::MakeThreadGroup(ranks);
  std::vector<std::unique_ptr<Executor>> executors;
  for (const auto& communicator : communicators) {
    executors.push_back(
        std::make_unique<Scripted>([=](const backend::Rows& rows, const StepOutput& output) {
          return script(*communicator, rows, output);
        }));
  }
  auto executor = MakeShardedExecutor(std::move(executors), communicators);
  EXPECT_TRUE(executor.ok()) << executor.status();
  return *std::move(executor);
}

TEST(ShardedExecutor, RunsEveryStepOnEveryRankAtOnce) {
  for (const int ranks : {1, 2, 4}) {
    std::atomic<int> computed = 0;
    const auto executor =
        Make(ranks, [&](comm::Communicator& self, const backend::Rows& rows, const StepOutput&) {
          EXPECT_EQ(rows.tokens[0], 7);
          ++computed;
          return self.Barrier();  // which needs all of them
        });
    const std::vector<TokenId> tokens = {7};

    for (int step = 1; step <= 300; ++step) {
      ASSERT_TRUE(executor->Step({.tokens = tokens}, {}).ok());
      EXPECT_EQ(computed, ranks * step);
    }
  }
}

TEST(ShardedExecutor, AsksTheFirstRankAloneForOutputOnTheCallersThread) {
  const std::thread::id caller = std::this_thread::get_id();
  const auto executor =
      Make(3, [&](comm::Communicator& self, const backend::Rows&, const StepOutput& output) {
        EXPECT_EQ(self.rank() == 0, !output.logits.empty());
        EXPECT_EQ(self.rank() == 0, std::this_thread::get_id() == caller);
        return absl::OkStatus();
      });
  std::vector<float> logits(4);

  EXPECT_TRUE(executor->Step({}, {.logits = logits}).ok());
}

TEST(ShardedExecutor, FailsAsTheRankThatFailsAndLeavesNobodyWaiting) {
  for (const int failing : {0, 1, 2}) {
    const auto executor =
        Make(3, [failing](comm::Communicator& self, const backend::Rows&, const StepOutput&) {
          return self.rank() == failing ? absl::DataLossError("it broke") : self.Barrier();
        });

    EXPECT_EQ(executor->Step({}, {}), absl::DataLossError("it broke"));
    const absl::Status later = executor->Step({}, {});
    EXPECT_TRUE(absl::IsUnavailable(later));
    EXPECT_THAT(std::string(later.message()), HasSubstr("it broke"));
  }
}

TEST(ShardedExecutor, R03MemoryThatRunsOutOnARankFailsTheStep) {
  const auto executor =
      Make(2, [](comm::Communicator& self, const backend::Rows&, const StepOutput&) {
        if (self.rank() == 1) throw std::bad_alloc();
        return self.Barrier();
      });

  EXPECT_TRUE(absl::IsResourceExhausted(executor->Step({}, {})));
}

TEST(ShardedExecutor, R03MemoryThatRunsOutOnTheCallersThreadFailsTheStepOnceAllAreBack) {
  std::atomic<int> back = 0;
  const auto executor =
      Make(3, [&back](comm::Communicator& self, const backend::Rows&, const StepOutput&) {
        if (self.rank() == 0) throw std::bad_alloc();
        const absl::Status status = self.Barrier();
        ++back;
        return status;
      });

  EXPECT_TRUE(absl::IsResourceExhausted(executor->Step({}, {})));
  EXPECT_EQ(back, 2);
  EXPECT_FALSE(executor->Step({}, {}).ok());
}

TEST(ShardedExecutor, GoesAwayWithoutHavingDoneAnything) {
  for (int i = 0; i < 50; ++i)
    Make(4, [](comm::Communicator&, const backend::Rows&, const StepOutput&) {
      return absl::OkStatus();
    });
}

}  // namespace
}  // namespace codegen::model
