// SPDX-License-Identifier: Apache-2.0
//
// Regular files opened for reading, and only those: a FIFO, socket, device or directory is refused
// without blocking.
#ifndef CODEGEN_BASE_FILE_H_
#define CODEGEN_BASE_FILE_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace codegen::base {

// An open file of the size it had when it was opened. Safe for concurrent use (pread, no shared
// position).
class File {
 public:
  // Errors: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT (not a regular file), RESOURCE_EXHAUSTED
  // (descriptors).
  static absl::StatusOr<std::shared_ptr<const File>> Open(const std::string& path);

  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  // Fills `out` from `offset`. Errors: DATA_LOSS naming the file if it ends before.
  absl::Status Read(std::int64_t offset, std::span<std::byte> out) const;

  std::int64_t size() const { return size_; }
  // The last component of the path: what messages show.
  const std::string& name() const { return name_; }

 private:
  File(int descriptor, std::int64_t size, std::string name);
  int descriptor_;
  std::int64_t size_;
  std::string name_;
};

// Returns "folder/name".
std::string JoinPath(const std::string& folder, const std::string& name);

// Returns whether something that can be opened, or at least seen, is there.
bool Exists(const std::string& path);

// Reads a whole file of at most `limit` bytes. Errors: as File::Open and File::Read;
// RESOURCE_EXHAUSTED naming the limit, before anything is read.
absl::StatusOr<std::string> ReadFile(const std::string& path, std::int64_t limit);

}  // namespace codegen::base

#endif  // CODEGEN_BASE_FILE_H_
