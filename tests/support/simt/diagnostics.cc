// SPDX-License-Identifier: Apache-2.0
#include "support/simt/diagnostics.h"

#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace codegen::simt {
namespace {

struct Diagnostics {
  std::mutex mutex;
  std::vector<std::string> texts;
};

Diagnostics& AllDiagnostics() {
  static auto* diagnostics = new Diagnostics;  // outlives every thread
  return *diagnostics;
}

}  // namespace

// The same line may carry two copies of its file's name, one per place that was compiled into.
bool operator==(const Place& a, const Place& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

std::string ToString(const Place& place) {
  const char* slash = std::strrchr(place.file, '/');
  return std::string(slash == nullptr ? place.file : slash + 1) + ":" + std::to_string(place.line);
}

std::vector<std::string> TakeDiagnostics() {
  Diagnostics& all = AllDiagnostics();
  const std::lock_guard lock(all.mutex);
  return std::exchange(all.texts, {});
}

void AddDiagnostic(std::string text) {
  Diagnostics& all = AllDiagnostics();
  const std::lock_guard lock(all.mutex);
  all.texts.push_back(std::move(text));
}

}  // namespace codegen::simt
