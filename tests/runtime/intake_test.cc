// SPDX-License-Identifier: Apache-2.0
#include "runtime/intake.h"

#include <absl/strings/cord.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace codegen::runtime {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr Time kArrival{std::chrono::hours(1)};
constexpr IntakeOptions kRoomy{.requests = 100, .bytes = 1 << 20};

Job PromptOf(int tokens) {
  return {.prompt = std::vector<TokenId>(static_cast<std::size_t>(tokens)),
          .new_tokens = 11,
          .arrival = kArrival};
}

// 10 ms a step, and 1 ms a row of a prompt on top.
Intake Measured(const IntakeOptions& options) {
  Intake intake(options);
  for (int i = 0; i < 100; ++i) {
    intake.Observe(0.010, 0);
    intake.Observe(0.110, 100);
  }
  return intake;
}

std::string RetryAfter(const absl::Status& status) {
  return std::string(status.GetPayload(kRetryAfterPayload).value_or(absl::Cord()));
}

TEST(Intake, TakesSoManyRequests) {
  Intake intake({.requests = 2, .bytes = 1 << 20});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(intake.Check(PromptOf(4), 16), absl::OkStatus());
    intake.Join(PromptOf(4), 16);
  }

  const absl::Status status = intake.Check(PromptOf(4), 16);

  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("2 requests wait"));
}

TEST(Intake, TakesSoManyBytes) {
  Intake intake({.requests = 100, .bytes = 1000});
  intake.Join(PromptOf(1), 600);

  EXPECT_EQ(intake.Check(PromptOf(1), 400), absl::OkStatus());
  const absl::Status status = intake.Check(PromptOf(1), 401);

  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("1001 bytes of prompts wait"));
}

TEST(Intake, HasRoomAgainOnceOneStarts) {
  Intake intake({.requests = 1, .bytes = 1000});
  Intake::Place place = intake.Join(PromptOf(4), 1000);
  EXPECT_FALSE(intake.Check(PromptOf(4), 1000).ok());

  intake.Start(place);

  EXPECT_EQ(intake.Check(PromptOf(4), 1000), absl::OkStatus());
}

TEST(Intake, CountsWhoLeavesOnce) {
  Intake intake({.requests = 2, .bytes = 2000});
  Intake::Place stays = intake.Join(PromptOf(4), 1000);
  Intake::Place leaves = intake.Join(PromptOf(4), 1000);

  intake.Start(leaves);
  for (int i = 0; i < 3; ++i) intake.Leave(leaves);

  EXPECT_EQ(intake.Check(PromptOf(4), 1000), absl::OkStatus());
  intake.Join(PromptOf(4), 1000);
  EXPECT_FALSE(intake.Check(PromptOf(4), 1000).ok());
  intake.Leave(stays);
  EXPECT_EQ(intake.Check(PromptOf(4), 1000), absl::OkStatus());
}

TEST(Intake, SaysWhenAPlaceIsExpected) {
  Intake intake = Measured({.requests = 2, .bytes = 1 << 20});
  EXPECT_EQ(RetryAfter(intake.Check(PromptOf(4), 16)), "");
  intake.Join(PromptOf(190), 16);
  intake.Join(PromptOf(200), 16);

  EXPECT_EQ(RetryAfter(intake.Check(PromptOf(4), 16)), "200");
}

TEST(Intake, SaysAtLeastAMillisecond) {
  Intake intake({.requests = 0, .bytes = 1 << 20});
  EXPECT_EQ(RetryAfter(intake.Check(PromptOf(4), 16)), "1");
}

TEST(Intake, G13RefusesADeadlineThatHasPassed) {
  const Intake intake(kRoomy);
  Job job = PromptOf(4);
  job.first_token_by = kArrival;
  EXPECT_THAT(std::string(intake.Check(job, 16).message()), HasSubstr("first_token_by"));

  job = PromptOf(4);
  job.done_by = kArrival;
  EXPECT_TRUE(absl::IsDeadlineExceeded(intake.Check(job, 16)));
  EXPECT_THAT(std::string(intake.Check(job, 16).message()), HasSubstr("done_by"));
}

TEST(Intake, DoesNotEstimateUnlessAsked) {
  const Intake intake = Measured(kRoomy);
  Job job = PromptOf(500);
  job.first_token_by = kArrival + milliseconds(1);
  EXPECT_EQ(intake.Check(job, 16), absl::OkStatus());
}

TEST(Intake, RefusesAFirstTokenThatCannotBeInTime) {
  Intake intake = Measured({.requests = 100, .bytes = 1 << 20, .admission = Admission::kFeasible});
  Intake::Place before = intake.Join(PromptOf(300), 16);
  Job job = PromptOf(100);  // 0.3 s of others, 0.1 s of its own, and a step

  job.first_token_by = kArrival + milliseconds(405);
  const absl::Status status = intake.Check(job, 16);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("about 0.410 s"));

  job.first_token_by = kArrival + milliseconds(415);
  EXPECT_EQ(intake.Check(job, 16), absl::OkStatus());

  intake.Leave(before);
  job.first_token_by = kArrival + milliseconds(115);
  EXPECT_EQ(intake.Check(job, 16), absl::OkStatus());
}

TEST(Intake, RefusesAnEndThatCannotBeInTime) {
  const Intake intake =
      Measured({.requests = 100, .bytes = 1 << 20, .admission = Admission::kFeasible});
  Job job = PromptOf(100);  // 0.11 s to the first token, 0.1 s for ten more

  job.done_by = kArrival + milliseconds(205);
  EXPECT_THAT(std::string(intake.Check(job, 16).message()), HasSubstr("11 tokens"));

  job.done_by = kArrival + milliseconds(215);
  EXPECT_EQ(intake.Check(job, 16), absl::OkStatus());
}

}  // namespace
}  // namespace codegen::runtime
