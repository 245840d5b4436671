// SPDX-License-Identifier: Apache-2.0
#include "api/trace_output.h"

namespace codegen::api {

void TraceOutput::Post(std::string event, runtime::Delivery& delivery) {
  {
    const base::MutexLock lock(mutex_);
    if (events_.size() == kMostEvents) return;
    events_.push_back(std::move(event));
    if (std::exchange(scheduled_, true)) return;
  }
  delivery.Schedule(shared_from_this());
}

void TraceOutput::Receive(runtime::Delivery& delivery) {
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
