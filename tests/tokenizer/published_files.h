// SPDX-License-Identifier: Apache-2.0
//
// The published tokenizer files, which are not part of this project: tests that need them look in a
// folder beside the checkout and skip, saying so, where it is not.
#ifndef CODEGEN_TESTS_TOKENIZER_PUBLISHED_FILES_H_
#define CODEGEN_TESTS_TOKENIZER_PUBLISHED_FILES_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace codegen::tokenizer {

// Returns the path of something in the shared folder beside the source tree.
inline std::string PublishedPath(const std::string& name) {
  return std::string(CODEGEN_SOURCE_DIR) + "/../shared/" + name;
}

}  // namespace codegen::tokenizer

#define CODEGEN_SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "needs " << (path) << ", which is not there"

#endif  // CODEGEN_TESTS_TOKENIZER_PUBLISHED_FILES_H_
