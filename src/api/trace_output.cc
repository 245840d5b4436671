// SPDX-License-Identifier: Apache-2.0
#include "api/trace_output.h"

#include <algorithm>
#include <iterator>
#include <new>

namespace codegen::api {

void TraceOutput::Post(absl::FunctionRef<std::vector<std::string>()> make,
                       runtime::Delivery& delivery) noexcept {
  try {
    Append(make(), delivery);
  } catch (const std::bad_alloc&) {  // a trace is worth nobody's request
  }
}

void TraceOutput::Append(std::vector<std::string> events, runtime::Delivery& delivery) {
  {
    const base::MutexLock lock(mutex_);
    if (events_.size() + events.size() > kMostEvents) return;
    std::ranges::move(events, std::back_inserter(events_));
    if (std::exchange(scheduled_, true)) return;
  }
  delivery.Schedule(shared_from_this());
}

void TraceOutput::Receive(runtime::Delivery& delivery) noexcept {
  while (true) {
    std::vector<std::string> events;
    {
      const base::MutexLock lock(mutex_);
      scheduled_ = !events_.empty();
      if (!scheduled_) return;
      events.swap(events_);
    }
    const runtime::Delivery::Away away(delivery);
    try {
      for (const std::string& event : events) sink_(event);
    } catch (...) {  // a sink that throws loses what it was given
    }
  }
}

}  // namespace codegen::api
