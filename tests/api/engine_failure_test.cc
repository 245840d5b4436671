// SPDX-License-Identifier: Apache-2.0
//
// A device that fails, hangs, or yields what is not a number, below a real batcher: the only one,
// the first of two that compute together, or the second.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cfenv>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "api/batcher_core.h"
#include "api/batcher_testing.h"
#include "base/check.h"
#include "comm/thread_group.h"
#include "model/sharded_executor.h"

namespace codegen::api {
namespace {

using ::testing::HasSubstr;

using StepFunction =
    std::function<absl::Status(int step, const backend::Rows& rows, const model::StepOutput&)>;

// Draws token 1 for every row, unless `before` says otherwise, and waits for the other ranks.
class FaultyExecutor final : public model::Executor {
 public:
  FaultyExecutor(StepFunction before, std::shared_ptr<comm::Communicator> communicator)
      : before_(std::move(before)), communicator_(std::move(communicator)) {}

  absl::Status Step(const backend::Rows& rows, const model::StepOutput& output) override {
    for (backend::SampledToken& token : output.tokens) token = {.id = 1};
    CODEGEN_RETURN_IF_ERROR(before_(++step_, rows, output));
    return communicator_->Barrier();
  }

 private:
  const StepFunction before_;
  const std::shared_ptr<comm::Communicator> communicator_;
  int step_ = 0;
};

absl::Status Faultless(int, const backend::Rows&, const model::StepOutput&) {
  return absl::OkStatus();
}

struct Fault {
  int ranks = 1;
  int rank = 0;  // that has it
};

class EngineFailure : public ::testing::TestWithParam<Fault> {
 protected:
  // A device of which the one rank does as `before` says.
  std::unique_ptr<model::Executor> MakeDevice(const StepFunction& before) {
    const auto communicators = comm::MakeThreadGroup(GetParam().ranks);
    std::vector<std::unique_ptr<model::Executor>> ranks;
    for (const auto& communicator : communicators) {
      const bool faulty = communicator->rank() == GetParam().rank;
      ranks.push_back(std::make_unique<FaultyExecutor>(faulty ? before : Faultless, communicator));
    }
    if (ranks.size() == 1) return std::move(ranks.front());
    auto device = model::MakeShardedExecutor(std::move(ranks), communicators);
    EXPECT_TRUE(device.ok()) << device.status();
    return *std::move(device);
  }

  std::shared_ptr<BatcherCore> Make(const StepFunction& before, std::chrono::milliseconds timeout) {
    const BatcherOptions options{.max_batch = 4,
                                 .kv_bytes = 16 * 64 * model_.info().kv_bytes_per_token,
                                 .context_tokens = 64,
                                 .step_timeout = timeout};
    auto core = BatcherCore::CreateOn(MakeDevice(before), model_, options);
    EXPECT_TRUE(core.ok()) << core.status();
    return *std::move(core);
  }

  std::shared_ptr<PendingRequest> Submit(BatcherCore& core, Request request) {
    auto pending = core.Submit(std::move(request), {});
    EXPECT_TRUE(pending.ok()) << pending.status();
    return *std::move(pending);
  }

  const Model model_ = codegen::testing::TinyModel();
};

TEST_P(EngineFailure, R07EndsAllInFlightAndSaysSo) {
  const auto core = Make(
      [](int step, const backend::Rows&, const model::StepOutput&) {
        return step < 5 ? absl::OkStatus() : absl::InternalError("the device is gone");
      },
      std::chrono::seconds(30));
  std::vector<std::shared_ptr<PendingRequest>> pending;
  for (int i = 0; i < 9; ++i) pending.push_back(Submit(*core, codegen::testing::Endless(40)));

  for (const auto& request : pending) {
    const Completion& completion = *request->WaitUntil(Time::max());
    EXPECT_TRUE(absl::IsUnavailable(completion.status)) << completion.status;
    EXPECT_THAT(std::string(completion.status.message()), HasSubstr("the device is gone"));
    EXPECT_EQ(completion.finish_reason, FinishReason::kError);
  }
  core->Shutdown();
  const Health health = core->health();
  EXPECT_EQ(health.state, Health::State::kFailed);
  EXPECT_TRUE(health.recreate);
  EXPECT_TRUE(absl::IsFailedPrecondition(core->Submit(codegen::testing::Endless(3), {}).status()));
}

TEST_P(EngineFailure, AThrowingDeviceIsAFailedOneWhateverItThrows) {
  const StepFunction throwing[] = {
      [](int, const backend::Rows&, const model::StepOutput&) -> absl::Status {
        throw std::runtime_error("no memory");
      },
      [](int, const backend::Rows&, const model::StepOutput&) -> absl::Status { throw 42; },
  };
  for (const StepFunction& step : throwing) {
    const auto core = Make(step, std::chrono::seconds(30));
    const auto pending = Submit(*core, codegen::testing::Endless(4));

    EXPECT_TRUE(absl::IsUnavailable(pending->WaitUntil(Time::max())->status));
    core->Shutdown();
    EXPECT_EQ(core->health().state, Health::State::kFailed);
  }
}

TEST_P(EngineFailure, Q13AHungDeviceIsNoticedAndHoldsNobody) {
  std::promise<void> released;
  std::shared_future<void> release = released.get_future().share();
  std::promise<void> left;
  {
    const auto core = Make(
        [release, &left](int step, const backend::Rows&, const model::StepOutput&) {
          if (step == 3) {
            release.wait();
            left.set_value();
          }
          return absl::OkStatus();
        },
        std::chrono::milliseconds(50));
    const auto running = Submit(*core, codegen::testing::Endless(40));

    const Completion& completion = *running->WaitUntil(Time::max());

    EXPECT_TRUE(absl::IsUnavailable(completion.status)) << completion.status;
    EXPECT_EQ(completion.token_ids.size(), 2U);
    EXPECT_FALSE(core->health().recreate);
    EXPECT_TRUE(
        absl::IsFailedPrecondition(core->Submit(codegen::testing::Endless(3), {}).status()));
    core->Shutdown();
  }
  released.set_value();  // the thread that was left behind ends by itself
  left.get_future().wait();
}

TEST_P(EngineFailure, G03LogitsThatAreNotFiniteEndTheirRequestAlone) {
  if (GetParam().rank > 0) GTEST_SKIP() << "the first rank draws";
  // Only sequences of the long prompt have rows at positions beyond 30.
  const auto core = Make(
      [](int, const backend::Rows& rows, const model::StepOutput& output) {
        for (std::size_t i = 0; i < output.tokens.size(); ++i) {
          if (rows.positions[static_cast<std::size_t>(rows.logit_rows[i])] >= 30)
            output.tokens[i].id = -1;
        }
        return absl::OkStatus();
      },
      std::chrono::seconds(30));
  const auto bad = Submit(*core, codegen::testing::Endless(5, std::vector<TokenId>(35, 2)));
  const auto good = Submit(*core, codegen::testing::Endless(12));

  EXPECT_TRUE(absl::IsInternal(bad->WaitUntil(Time::max())->status));
  EXPECT_EQ(good->WaitUntil(Time::max())->token_ids, std::vector<TokenId>(12, 1));
  EXPECT_EQ(core->health().state, Health::State::kServing);
  core->Shutdown();
}

TEST_P(EngineFailure, L17TheHostsRoundingModeDoesNotReachTheDevice) {
  std::atomic<int> mode = -1;
  std::fesetround(FE_UPWARD);
  const auto core = Make(
      [&mode](int, const backend::Rows&, const model::StepOutput&) {
        mode = std::fegetround();
        return absl::OkStatus();
      },
      std::chrono::seconds(30));
  std::fesetround(FE_TONEAREST);

  Submit(*core, codegen::testing::Endless(1))->WaitUntil(Time::max());

  EXPECT_EQ(mode, FE_TONEAREST);
  core->Shutdown();
}

TEST_P(EngineFailure, FeasibleAdmissionRefusesWithTheEstimate) {
  // Twenty milliseconds a step.
  std::promise<void> stop;
  std::shared_future<void> stopped = stop.get_future().share();
  const BatcherOptions options{.max_batch = 4,
                               .kv_bytes = 16 * 64 * model_.info().kv_bytes_per_token,
                               .context_tokens = 64,
                               .admission = Admission::kFeasible};
  auto core = BatcherCore::CreateOn(
      MakeDevice([stopped](int, const backend::Rows&, const model::StepOutput&) {
        stopped.wait_for(std::chrono::milliseconds(20));
        return absl::OkStatus();
      }),
      model_, options);
  ASSERT_TRUE(core.ok()) << core.status();
  Submit(**core, codegen::testing::Endless(4))->WaitUntil(Time::max());
  Request request = codegen::testing::Endless(50);
  request.done_by = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);

  const absl::Status refused = (*core)->Submit(request, {}).status();

  EXPECT_TRUE(absl::IsDeadlineExceeded(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("would take about"));
  request.max_new_tokens = 2;
  EXPECT_TRUE((*core)->Submit(request, {}).ok());
  stop.set_value();
  (*core)->Shutdown();
}

INSTANTIATE_TEST_SUITE_P(Devices, EngineFailure,
                         ::testing::Values(Fault{1, 0}, Fault{2, 0}, Fault{2, 1}),
                         [](const auto& fault) {
                           return fault.param.ranks == 1  ? "Whole"
                                  : fault.param.rank == 0 ? "FirstOfTwo"
                                                          : "SecondOfTwo";
                         });

}  // namespace
}  // namespace codegen::api
