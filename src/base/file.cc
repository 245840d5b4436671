// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace codegen::base {
namespace {

std::string BaseName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

absl::Status OpenError(int error, const std::string& name) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(fmt::format("{}: no such file", name));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(fmt::format("{}: not readable", name));
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(fmt::format("{}: too many open files", name));
    case ENXIO:  // a socket
      return absl::InvalidArgumentError(fmt::format("{}: not a regular file", name));
    case ENAMETOOLONG:
    case ELOOP:
      return absl::InvalidArgumentError(fmt::format("{}: not a possible path", name));
    default:
      return absl::UnknownError(fmt::format("{}: {}", name, std::strerror(error)));
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const File>> File::Open(const std::string& path) {
  const std::string name = BaseName(path);
  if (path.find('\0') != std::string::npos)
    return absl::InvalidArgumentError("a path with a NUL byte in it");
  // O_NONBLOCK: opening a FIFO without a writer must not wait.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return OpenError(errno, name);
  struct stat status = {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return absl::InvalidArgumentError(fmt::format("{}: not a regular file", name));
  }
  return std::shared_ptr<const File>(new File(descriptor, status.st_size, name));
}

File::File(int descriptor, std::int64_t size, std::string name)
    : descriptor_(descriptor), size_(size), name_(std::move(name)) {}

File::~File() { ::close(descriptor_); }

absl::Status File::Read(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), out.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      return absl::DataLossError(fmt::format("{}: read failed: {}", name_, std::strerror(errno)));
    if (count == 0) {
      return absl::DataLossError(fmt::format("{}: file ends at byte {}, expected {} bytes more",
                                             name_, offset, out.size()));
    }
    offset += count;
    out = out.subspan(static_cast<std::size_t>(count));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> File::ReadString(std::int64_t offset, std::int64_t bytes) const {
  if (offset < 0 || bytes < 0 || offset > size_ || bytes > size_ - offset) {
    return absl::DataLossError(fmt::format("{}: file ends at byte {}, expected {} bytes at {}",
                                           name_, size_, bytes, offset));
  }
  std::string text(static_cast<std::size_t>(bytes), '\0');
  CODEGEN_RETURN_IF_ERROR(Read(offset, std::as_writable_bytes(std::span(text))));
  return text;
}

std::string JoinPath(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / name).string();
}

bool Exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::symlink_status(path, ignored).type() !=
         std::filesystem::file_type::not_found;
}

absl::StatusOr<std::string> ReadFile(const std::string& path, std::int64_t limit) {
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<const File> file, File::Open(path));
  if (file->size() > limit) {
    return absl::ResourceExhaustedError(
        fmt::format("{}: {} bytes, limit {}", file->name(), file->size(), limit));
  }
  return file->ReadString(0, file->size());
}

std::string WhatItLooksLike(std::string_view head) {
  const std::size_t start = head.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return " (the file is empty)";
  head.remove_prefix(start);
  if (head.starts_with("version https://git-lfs"))
    return " (looks like a Git LFS pointer: fetch the real file)";
  if (head.starts_with("<")) return " (looks like an HTML page: download the file again)";
  return "";
}

}  // namespace codegen::base
