// SPDX-License-Identifier: Apache-2.0
//
// Reference data that lies beside the repository, if it does: large, and not part of it.
#ifndef CODEGEN_TESTS_SUPPORT_SHARED_FILES_H_
#define CODEGEN_TESTS_SUPPORT_SHARED_FILES_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace codegen::testing {

// The path of ../shared/`name`, or an empty one if it is not there.
inline std::string SharedPath(const std::string& name) {
  const std::filesystem::path path =
      std::filesystem::path(CODEGEN_SOURCE_DIR).parent_path() / "shared" / name;
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? path.string() : std::string();
}

// The model that the repository ships.
inline std::string ShippedModel() {
  return CODEGEN_SOURCE_DIR "/examples/models/codegen-tiny-python";
}

}  // namespace codegen::testing

// For tests that a build without ../shared does not list, but somebody may still start by hand.
#define CODEGEN_SKIP_WITHOUT(path) \
  if ((path).empty()) GTEST_SKIP() << "no ../shared beside the repository"

#endif  // CODEGEN_TESTS_SUPPORT_SHARED_FILES_H_
