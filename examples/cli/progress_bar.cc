// SPDX-License-Identifier: Apache-2.0
#include "progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace cli {
namespace {

constexpr int kCells = 40;
constexpr std::chrono::milliseconds kInterval(100);

}  // namespace

// Work that takes less than one interval shows no bar at all.
ProgressBar::ProgressBar(std::string what)
    : what_(std::move(what)),
      terminal_(isatty(STDERR_FILENO) != 0),
      next_(std::chrono::steady_clock::now() + kInterval) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);  // erase the line
}

void ProgressBar::Show(double share, std::string_view note) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now < next_) return;
  next_ = now + kInterval;
  drawn_ = true;
  share = std::clamp(share, 0.0, 1.0);
  const int full = static_cast<int>(std::lround(share * kCells));
  const std::string bar = std::string(static_cast<std::size_t>(full), '#') +
                          std::string(static_cast<std::size_t>(kCells - full), '.');
  std::fprintf(stderr, "\r%s [%s] %3.0f %% %.*s\x1b[K", what_.c_str(), bar.c_str(), 100 * share,
               static_cast<int>(note.size()), note.data());
}

}  // namespace cli
