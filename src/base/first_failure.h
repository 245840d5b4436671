// SPDX-License-Identifier: Apache-2.0
//
// The failure of the first of many tasks that run at once.
#ifndef CODEGEN_BASE_FIRST_FAILURE_H_
#define CODEGEN_BASE_FIRST_FAILURE_H_

#include <absl/status/status.h>

#include <cstdint>
#include <mutex>
#include <utility>

namespace codegen::base {

// Keeps the failure of the lowest row, so that the same file gives the same error on any number of
// threads (as long as all rows are tried). Report may be called from several threads at once.
class FirstFailure {
 public:
  void Report(std::int64_t row, absl::Status status) {
    if (status.ok()) return;
    const std::lock_guard lock(mutex_);
    if (status_.ok() || row < row_) {
      row_ = row;
      status_ = std::move(status);
    }
  }
  absl::Status Take() { return std::move(status_); }

 private:
  std::mutex mutex_;
  std::int64_t row_ = 0;
  absl::Status status_;
};

}  // namespace codegen::base

#endif  // CODEGEN_BASE_FIRST_FAILURE_H_
