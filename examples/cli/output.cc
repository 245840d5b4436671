// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace cli {

absl::Status Write(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return absl::OkStatus();
  if (errno == EPIPE) return absl::CancelledError("nobody reads standard output");
  return absl::UnknownError(fmt::format("standard output: {}", std::strerror(errno)));
}

absl::Status WriteLine(const Json& value) {
  // ASCII alone, so that a line is one line for every reader: some take U+2028 for the end of one.
  // A message may quote bytes of a file that are not UTF-8; a result never holds any.
  constexpr bool kAscii = true;
  return Write(value.dump(-1, ' ', kAscii, Json::error_handler_t::replace) + "\n");
}

absl::Status FinishText() { return isatty(STDOUT_FILENO) ? Write("\n") : absl::OkStatus(); }

}  // namespace cli
