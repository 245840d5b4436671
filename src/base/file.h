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
#include <string_view>

namespace codegen::base {

// An open file of the size it had when it was opened. Safe for concurrent use (pread, no shared
// position).
class File {
 public:
  // Errors: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT (not a regular file, not a possible
  // path), RESOURCE_EXHAUSTED (descriptors).
  static absl::StatusOr<std::shared_ptr<const File>> Open(const std::string& path);

  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  // Fills `out` from `offset`. Errors: DATA_LOSS naming the file if it ends before.
  absl::Status Read(std::int64_t offset, std::span<std::byte> out) const;

  // Returns `bytes` bytes from `offset`. Errors: as above, before anything is allocated.
  absl::StatusOr<std::string> ReadString(std::int64_t offset, std::int64_t bytes) const;

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

// Returns whether there is something by this name, be it a link to nowhere or unreadable: false is
// the answer only where Open would say NOT_FOUND for the name itself.
bool Exists(const std::string& path);

// Reads a whole file of at most `limit` bytes. Errors: as File::Open and File::Read;
// RESOURCE_EXHAUSTED naming the limit, before anything is read.
absl::StatusOr<std::string> ReadFile(const std::string& path, std::int64_t limit);

// Returns what the first bytes of a file that is not what it should be look like, as an end to a
// message (" (looks like a Git LFS pointer: fetch the real file)"), or nothing.
std::string WhatItLooksLike(std::string_view head);

}  // namespace codegen::base

#endif  // CODEGEN_BASE_FILE_H_
