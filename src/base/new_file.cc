// SPDX-License-Identifier: Apache-2.0
#include "base/new_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/file.h"

namespace codegen::base {
namespace {

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case EEXIST:
    case ENOTDIR:
    case EISDIR:
      return absl::StatusCode::kFailedPrecondition;
    case EINVAL:  // an empty path
    case ENAMETOOLONG:
    case ELOOP:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kUnknown;
  }
}

absl::Status WriteError(int error, const std::string& name) {
  return absl::Status(CodeOf(error),
                      fmt::format("{}: cannot be written: {}", name, std::strerror(error)));
}

// Gives `from` the name `to`, in place of what has it. 0 or an error number.
int RenameOver(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

// The same unless that is taken.
int RenameToNew(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // A file system without that flag.
  return Exists(to) ? EEXIST : RenameOver(from, to);
}

// Makes the names in a folder last. Some file systems cannot; then they last as long as they do.
void SyncFolder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

absl::StatusOr<NewFile> NewFile::Create(const std::string& folder, const std::string& name,
                                        Taken taken) {
  constexpr int kTries = 100;
  struct stat found = {};
  if (taken == Taken::kRefused && ::lstat(JoinPath(folder, name).c_str(), &found) == 0)
    return WriteError(EEXIST, name);
  for (int i = 0; i < kTries; ++i) {
    std::string temporary = JoinPath(folder, fmt::format(".{}.{}-{}.part", name, ::getpid(), i));
    const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) return NewFile(descriptor, folder, name, taken, std::move(temporary));
    if (errno != EEXIST) break;
  }
  return WriteError(errno, name);
}

NewFile::NewFile(int descriptor, std::string folder, std::string name, Taken taken,
                 std::string temporary)
    : descriptor_(descriptor),
      folder_(std::move(folder)),
      name_(std::move(name)),
      taken_(taken),
      temporary_(std::move(temporary)) {}

NewFile::NewFile(NewFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      folder_(std::move(other.folder_)),
      name_(std::move(other.name_)),
      taken_(other.taken_),
      temporary_(std::exchange(other.temporary_, {})) {}

NewFile::~NewFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

absl::Status NewFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return WriteError(errno, name_);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return absl::OkStatus();
}

// A network file system may say only now that the disk is full.
absl::Status NewFile::Close() {
  const bool synced = ::fsync(descriptor_) == 0 || errno == EINVAL;
  const int sync_error = errno;
  const bool closed = ::close(std::exchange(descriptor_, -1)) == 0 || errno == EINTR;
  if (!synced) return WriteError(sync_error, name_);
  return closed ? absl::OkStatus() : WriteError(errno, name_);
}

absl::Status NewFile::Commit() {
  CODEGEN_RETURN_IF_ERROR(Close());
  const auto rename = taken_ == Taken::kRefused ? RenameToNew : RenameOver;
  if (const int error = rename(temporary_, JoinPath(folder_, name_)); error != 0)
    return WriteError(error, name_);
  temporary_.clear();
  SyncFolder(folder_);
  return absl::OkStatus();
}

absl::Status WriteNewFile(const std::string& folder, const std::string& name, std::string_view text,
                          Taken taken) {
  CODEGEN_ASSIGN_OR_RETURN(NewFile file, NewFile::Create(folder, name, taken));
  CODEGEN_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(text))));
  return file.Commit();
}

absl::Status MakeFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return WriteError(error.value(), std::filesystem::path(path).filename().string());
  return absl::OkStatus();
}

}  // namespace codegen::base
