// SPDX-License-Identifier: Apache-2.0
//
// One automaton per stop string instead of one for all (Aho and Corasick): there are few of them,
// and tokens arrive a few bytes at a time.
#include "sample/stop.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace codegen::sample {

bool StopMatcher::Pattern::Advance(char byte) {
  while (length > 0 && text[length] != byte) length = border[length - 1];
  if (text[length] == byte) ++length;
  if (length < text.size()) return false;
  length = border[length - 1];
  return true;
}

StopMatcher::StopMatcher(const std::vector<std::string>& strings) {
  for (const std::string& string : strings) {
    CODEGEN_DCHECK(!string.empty());
    // The borders of a string are what it matches of itself, read from its second byte on.
    Pattern pattern{.text = string, .border = std::vector<std::size_t>(string.size())};
    for (std::size_t i = 1; i < string.size(); ++i) {
      pattern.Advance(string[i]);
      pattern.border[i] = pattern.length;
    }
    pattern.length = 0;
    patterns_.push_back(std::move(pattern));
  }
}

StopMatcher::Result StopMatcher::Add(std::string_view text) {
  for (const char byte : text) {
    if (matched_) break;
    held_.push_back(byte);
    ++size_;
    for (Pattern& pattern : patterns_)
      if (pattern.Advance(byte))
        match_ = std::min(match_, size_ - static_cast<std::int64_t>(pattern.text.size()));
    matched_ = match_ <= EarliestCandidate();
  }
  return {Release(std::min(match_, EarliestCandidate())), matched_};
}

StopMatcher::Result StopMatcher::Finish() {
  matched_ = match_ != kNone;
  return {Release(std::min(match_, size_)), matched_};
}

std::int64_t StopMatcher::EarliestCandidate() const {
  std::size_t longest = 0;
  for (const Pattern& pattern : patterns_) longest = std::max(longest, pattern.length);
  return size_ - static_cast<std::int64_t>(longest);
}

std::string StopMatcher::Release(std::int64_t end) {
  const std::int64_t begin = size_ - static_cast<std::int64_t>(held_.size());
  const auto released = static_cast<std::size_t>(std::max<std::int64_t>(end - begin, 0));
  std::string text = held_.substr(0, released);
  held_.erase(0, released);
  return text;
}

}  // namespace codegen::sample
