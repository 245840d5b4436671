// SPDX-License-Identifier: Apache-2.0
#include "metrics/trace.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/request.h"

namespace codegen::metrics {
namespace {

double Microseconds(Time::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// What happened on a lane from one time to another.
struct TraceSpan {
  std::string_view name = {};
  std::uint64_t lane = 0;
  Time begin = {};
  Time end = {};
};

// `arguments` is a JSON object.
std::string CompleteEvent(const TraceSpan& span, std::string_view arguments) {
  return fmt::format(R"({{"name":"{}","ph":"X","ts":{},"dur":{},"pid":1,"tid":{},"args":{}}})",
                     span.name, Microseconds(span.begin.time_since_epoch()),
                     Microseconds(span.end - span.begin), span.lane, arguments);
}

}  // namespace

std::string StepEvent(Time begin, Time end, int rows, int samples) {
  return CompleteEvent({.name = "step", .begin = begin, .end = end},
                       fmt::format(R"({{"rows":{},"samples":{}}})", rows, samples));
}

std::vector<std::string> RequestEvents(std::uint64_t id, const Timeline& timeline) {
  const std::string arguments = fmt::format(R"({{"preemptions":{}}})", timeline.preemptions);
  std::vector<std::string> events;
  const auto add = [&](std::string_view name, Time begin, Time next) {
    if (begin == Time()) return;
    const Time end = next == Time() ? timeline.done : next;
    events.push_back(
        CompleteEvent({.name = name, .lane = id, .begin = begin, .end = end}, arguments));
  };
  add("queued", timeline.queued, timeline.scheduled);
  add("prefill", timeline.scheduled, timeline.first_token);
  add("decode", timeline.first_token, timeline.done);
  return events;
}

}  // namespace codegen::metrics
