// SPDX-License-Identifier: Apache-2.0
//
// Files that are either there and complete, or not there.
//
//   auto file = base::NewFile::Create(folder, "model.safetensors");
//   CODEGEN_RETURN_IF_ERROR(file->Write(bytes));
//   return file->Commit();
//
// The bytes go to a temporary name in the same folder and reach the disk before the file takes its
// own name; until then a crash leaves at most a hidden file, and an error nothing.
#ifndef CODEGEN_BASE_NEW_FILE_H_
#define CODEGEN_BASE_NEW_FILE_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace codegen::base {

// What becomes of a file that has the name already.
enum class Taken {
  kRefused,   // it stays, and the new one is refused
  kReplaced,  // by the new one, at once: a reader sees all of one of them
};

// Errors of all: FAILED_PRECONDITION (the name is taken, with kReplaced by a folder), NOT_FOUND (no
// such folder), PERMISSION_DENIED, RESOURCE_EXHAUSTED (the disk is full, descriptors),
// INVALID_ARGUMENT (not a possible path), UNKNOWN with the system's reason.
class NewFile {
 public:
  static absl::StatusOr<NewFile> Create(const std::string& folder, const std::string& name,
                                        Taken taken = Taken::kRefused);

  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();  // removes what was not committed

  absl::Status Write(std::span<const std::byte> bytes);
  // Waits for the disk. With kRefused a file of this name that appeared meanwhile stays, too.
  absl::Status Commit();

 private:
  NewFile(int descriptor, std::string folder, std::string name, Taken taken, std::string temporary);
  absl::Status Close();

  int descriptor_;
  std::string folder_;
  std::string name_;
  Taken taken_;
  std::string temporary_;  // the path to remove; empty once committed
};

// Writes a file of this content. Errors: as NewFile.
absl::Status WriteNewFile(const std::string& folder, const std::string& name, std::string_view text,
                          Taken taken = Taken::kRefused);

// Makes a folder, and those around it, unless it is there. Errors: as NewFile; FAILED_PRECONDITION
// if there is something else by that name.
absl::Status MakeFolder(const std::string& path);

}  // namespace codegen::base

#endif  // CODEGEN_BASE_NEW_FILE_H_
