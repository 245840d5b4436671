// SPDX-License-Identifier: Apache-2.0
#include "support/simt/schedule.h"

#include <array>
#include <mutex>
#include <ostream>

namespace codegen::simt {
namespace {

std::mutex schedule_mutex;
Schedule current_schedule;

Schedule ExchangeSchedule(const Schedule& schedule) {
  const std::lock_guard lock(schedule_mutex);
  const Schedule before = current_schedule;
  current_schedule = schedule;
  return before;
}

}  // namespace

std::array<Schedule, 6> AllSchedules() {
  std::array<Schedule, 6> schedules;
  std::size_t next = 0;
  for (const Order order : {Order::kForward, Order::kBackward, Order::kRandom})
    for (const int poison : {0xFF, 0})
      schedules[next++] = {.order = order, .poison = static_cast<unsigned char>(poison)};
  return schedules;
}

Schedule CurrentSchedule() {
  const std::lock_guard lock(schedule_mutex);
  return current_schedule;
}

ScopedSchedule::ScopedSchedule(const Schedule& schedule) : before_(ExchangeSchedule(schedule)) {}

ScopedSchedule::~ScopedSchedule() { ExchangeSchedule(before_); }

std::ostream& operator<<(std::ostream& out, const Schedule& schedule) {
  constexpr const char* kNames[] = {"forward", "backward", "random"};
  return out << kNames[static_cast<int>(schedule.order)] << " order, seed " << schedule.seed
             << ", poison " << static_cast<int>(schedule.poison);
}

}  // namespace codegen::simt
