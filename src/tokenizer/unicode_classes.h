// SPDX-License-Identifier: Apache-2.0
//
// The three properties of characters that the GPT-2 pattern asks for: \p{L}, \p{N} and \s.
//
// From Unicode 16.0, the version of the two libraries that define the ids today (Hugging Face
// tokenizers 0.23 and tiktoken 0.14 were both compared with it, every code point). Letters added by
// a later version of Unicode count as "other" here, exactly as they do there.
#ifndef CODEGEN_TOKENIZER_UNICODE_CLASSES_H_
#define CODEGEN_TOKENIZER_UNICODE_CLASSES_H_

#include <cstdint>

namespace codegen::tokenizer {

// The values are those of generate_unicode_classes.py.
enum class CharClass : std::uint8_t {
  kOther = 0,   // punctuation, symbols, marks, controls, unassigned
  kLetter = 1,  // general categories L*
  kNumber = 2,  // general categories N*
  kSpace = 3,   // the property White_Space, 25 code points
};

// Returns the class of a Unicode scalar value. A binary search: about 20 ns; ASCII has a table of
// its own in pretokenize.cc.
CharClass ClassOf(char32_t code_point);

}  // namespace codegen::tokenizer

#endif  // CODEGEN_TOKENIZER_UNICODE_CLASSES_H_
