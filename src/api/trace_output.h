// SPDX-License-Identifier: Apache-2.0
//
// Carries trace events to the host's sink on the threads of the delivery.
#ifndef CODEGEN_API_TRACE_OUTPUT_H_
#define CODEGEN_API_TRACE_OUTPUT_H_

#include <absl/base/thread_annotations.h>
#include <absl/functional/function_ref.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "runtime/delivery.h"

namespace codegen::api {

// A sink that lags so far behind loses events: tracing must not cost unbounded memory.
class TraceOutput final : public runtime::Recipient,
                          public std::enable_shared_from_this<TraceOutput> {
 public:
  explicit TraceOutput(std::function<void(std::string_view)> sink) : sink_(std::move(sink)) {}

  // Hands on what `make` returns, unless there is no memory for it. From any thread.
  void Post(absl::FunctionRef<std::vector<std::string>()> make,
            runtime::Delivery& delivery) noexcept;

  void Receive(runtime::Delivery& delivery) noexcept override;

 private:
  static constexpr std::size_t kMostEvents = 1 << 16;

  void Append(std::vector<std::string> events, runtime::Delivery& delivery);

  const std::function<void(std::string_view)> sink_;

  base::Mutex mutex_;
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
  bool scheduled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace codegen::api

#endif  // CODEGEN_API_TRACE_OUTPUT_H_
