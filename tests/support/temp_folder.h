// SPDX-License-Identifier: Apache-2.0
//
// A folder of its own for one test, removed with everything in it.
#ifndef CODEGEN_TESTS_SUPPORT_TEMP_FOLDER_H_
#define CODEGEN_TESTS_SUPPORT_TEMP_FOLDER_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace codegen::testing {

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "codegen-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "no folder " << pattern;
    path_ = pattern;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

  // Writes a file, over the one that may be there, and returns its path.
  std::string Write(const std::string& name, std::string_view bytes) const {
    std::ofstream file(Path(name), std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) ADD_FAILURE() << "cannot write " << Path(name);
    return Path(name);
  }

 private:
  std::string path_;
};

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_TEMP_FOLDER_H_
