// SPDX-License-Identifier: Apache-2.0
//
// A bar on standard error while something takes long; nothing where that is not a terminal.
#ifndef CODEGEN_EXAMPLES_CLI_PROGRESS_BAR_H_
#define CODEGEN_EXAMPLES_CLI_PROGRESS_BAR_H_

#include <chrono>
#include <string>
#include <string_view>

namespace cli {

// Drawn until it is destroyed, then the line is empty again. One owner.
class ProgressBar {
 public:
  explicit ProgressBar(std::string what);  // e.g. "loading"
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `share` of the work done, in [0, 1]; `note` follows the bar.
  void Show(double share, std::string_view note = "");

 private:
  const std::string what_;
  const bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point
      next_;  // not before: drawing costs more than most steps of the work
};

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_PROGRESS_BAR_H_
