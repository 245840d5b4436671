// SPDX-License-Identifier: Apache-2.0
#include "metrics/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "codegen/request.h"

namespace codegen::metrics {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Time AtNanoseconds(std::int64_t nanoseconds) {
  return Time() + std::chrono::nanoseconds(nanoseconds);
}

// An event as a viewer reads it.
struct ParsedEvent {
  std::string name;
  double ts = 0;
  double dur = 0;
  std::uint64_t tid = 0;
  std::vector<std::string> args;  // "name=value"
};

ParsedEvent ParseEvent(const std::string& text) {
  ParsedEvent event;
  const auto document = base::JsonDocument::Parse(text, "event");
  EXPECT_TRUE(document.ok()) << document.status() << " in " << text;
  if (!document.ok()) return event;
  const simdjson::dom::object root = document->root();
  EXPECT_EQ(std::string_view(root["ph"]), "X");
  EXPECT_EQ(std::int64_t(root["pid"]), 1);
  event.name = std::string_view(root["name"]);
  event.ts = double(root["ts"]);
  event.dur = double(root["dur"]);
  event.tid = std::uint64_t(root["tid"]);
  for (const auto& [key, value] : simdjson::dom::object(root["args"]))
    event.args.push_back(std::string(key) + "=" + simdjson::to_string(value));
  return event;
}

std::vector<ParsedEvent> ParseEvents(const std::vector<std::string>& texts) {
  std::vector<ParsedEvent> events;
  for (const std::string& text : texts) events.push_back(ParseEvent(text));
  return events;
}

TEST(Trace, TellsAStepWithItsSizesInMicroseconds) {
  const ParsedEvent event =
      ParseEvent(StepEvent(AtNanoseconds(5'000'000), AtNanoseconds(5'250'000), 20, 4));

  EXPECT_EQ(event.name, "step");
  EXPECT_EQ(event.ts, 5000);
  EXPECT_EQ(event.dur, 250);
  EXPECT_EQ(event.tid, 0U);
  EXPECT_THAT(event.args, ElementsAre("rows=20", "samples=4"));
}

TEST(Trace, IsTheObjectOfChromesFormat) {
  EXPECT_EQ(StepEvent(AtNanoseconds(2'000), AtNanoseconds(3'500), 2, 1),
            R"({"name":"step","ph":"X","ts":2,"dur":1.5,"pid":1,"tid":0,)"
            R"("args":{"rows":2,"samples":1}})");
}

TEST(Trace, KeepsNanosecondsOfAMonthOfUptime) {
  const std::int64_t month = 30LL * 24 * 3600 * 1'000'000'000;

  const ParsedEvent event =
      ParseEvent(StepEvent(AtNanoseconds(month + 1), AtNanoseconds(month + 1002), 1, 1));

  EXPECT_EQ(event.ts, static_cast<double>(month + 1) / 1000);
  EXPECT_EQ(event.dur, 1.001);
}

TEST(Trace, TellsThePhasesOfARequestOnItsLane) {
  const std::vector<ParsedEvent> events =
      ParseEvents(RequestEvents(7, {.queued = AtNanoseconds(1'000),
                                    .scheduled = AtNanoseconds(3'000),
                                    .first_token = AtNanoseconds(7'000),
                                    .done = AtNanoseconds(15'000),
                                    .preemptions = 2}));

  ASSERT_THAT(events, SizeIs(3));
  const char* names[] = {"queued", "prefill", "decode"};
  const double begins[] = {1, 3, 7};
  const double durations[] = {2, 4, 8};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(events[i].name, names[i]);
    EXPECT_EQ(events[i].ts, begins[i]);
    EXPECT_EQ(events[i].dur, durations[i]);
    EXPECT_EQ(events[i].tid, 7U);
    EXPECT_THAT(events[i].args, ElementsAre("preemptions=2"));
  }
}

TEST(Trace, EndsThePrefillOfARequestWithoutATokenWhenItEnds) {
  const std::vector<ParsedEvent> events =
      ParseEvents(RequestEvents(1, {.queued = AtNanoseconds(1'000),
                                    .scheduled = AtNanoseconds(3'000),
                                    .done = AtNanoseconds(9'000)}));

  ASSERT_THAT(events, SizeIs(2));
  EXPECT_EQ(events[0].name, "queued");
  EXPECT_EQ(events[1].name, "prefill");
  EXPECT_EQ(events[1].dur, 6);
}

TEST(Trace, EndsTheWaitOfARequestThatNeverRanWhenItEnds) {
  const std::vector<ParsedEvent> events =
      ParseEvents(RequestEvents(1, {.queued = AtNanoseconds(1'000), .done = AtNanoseconds(9'000)}));

  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].name, "queued");
  EXPECT_EQ(events[0].dur, 8);
}

TEST(Trace, TellsNothingOfARequestThatWasNotQueued) {
  EXPECT_THAT(RequestEvents(1, {.done = AtNanoseconds(9'000)}), IsEmpty());
}

TEST(Trace, TakesTheGreatestRequestId) {
  constexpr std::uint64_t kGreatest = std::numeric_limits<std::uint64_t>::max();

  EXPECT_EQ(
      ParseEvents(RequestEvents(kGreatest, {.queued = AtNanoseconds(1), .done = AtNanoseconds(2)}))
          .at(0)
          .tid,
      kGreatest);
}

}  // namespace
}  // namespace codegen::metrics
