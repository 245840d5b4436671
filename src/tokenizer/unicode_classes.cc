// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/unicode_classes.h"

#include <algorithm>
#include <iterator>

namespace codegen::tokenizer {
namespace {

// Each entry is `first << 2 | class`: the class holds from `first` up to the next entry's.
constexpr std::uint32_t kClassStarts[] = {
#include "tokenizer/unicode_classes.inc"
};

}  // namespace

CharClass ClassOf(char32_t code_point) {
  const std::uint32_t key = static_cast<std::uint32_t>(code_point) << 2 | 3;
  const auto after = std::upper_bound(std::begin(kClassStarts), std::end(kClassStarts), key);
  return static_cast<CharClass>(*(after - 1) & 3);
}

}  // namespace codegen::tokenizer
