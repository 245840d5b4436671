// SPDX-License-Identifier: Apache-2.0
//
// Stop strings over streamed text.
//
// A stop string may begin in one token and end three tokens later, so text that could be its
// beginning is held back until the next bytes decide. Held back is exactly the longest suffix of
// the text that is a proper prefix of some stop string: nothing of a stop string is ever emitted
// and nothing else waits.
#ifndef CODEGEN_SAMPLE_STOP_H_
#define CODEGEN_SAMPLE_STOP_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace codegen::sample {

// Ends a text before its leftmost occurrence of a stop string, however the text is cut into pieces.
// Where one stop string ends inside another that began earlier ("bc" in "abcd"), the later one
// waits for the earlier to fail or to complete.
//
// Compares bytes. Emitted text never cuts a code point as long as the pieces do not and each stop
// string begins with a whole one, which the validation of requests ensures.
//
// Example:
//   StopMatcher matcher({"\n\n"});
//   matcher.Add("x = 1\n");  // {"x = 1", false}: the line break may be half of a stop
//   matcher.Add("y = 2");    // {"\ny = 2", false}
//   matcher.Add("\n\nz");    // {"", true}
class StopMatcher {
 public:
  struct Result {
    std::string text;      // may be shown: follows all that was returned before
    bool matched = false;  // the text is complete; what is added from now on is ignored
  };

  // Requires: no string is empty.
  explicit StopMatcher(const std::vector<std::string>& strings);

  Result Add(std::string_view text);

  // No more text will come: releases what was held back.
  Result Finish();

 private:
  // Knuth, Morris and Pratt's automaton of one stop string.
  struct Pattern {
    std::string text;
    std::vector<std::size_t> border;  // [i]: longest proper prefix of text[0..i] that is its suffix
    std::size_t length = 0;           // of the longest proper prefix that the text so far ends with

    bool Advance(char byte);  // true: an occurrence ends here
  };

  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();

  // Where the earliest occurrence may begin that is neither complete nor refuted; size_ if nowhere.
  std::int64_t EarliestCandidate() const;
  std::string Release(std::int64_t end);

  std::vector<Pattern> patterns_;
  std::string held_;            // the last bytes of the text, not returned yet
  std::int64_t size_ = 0;       // bytes of the text so far
  std::int64_t match_ = kNone;  // where the leftmost complete occurrence begins
  bool matched_ = false;
};

}  // namespace codegen::sample

#endif  // CODEGEN_SAMPLE_STOP_H_
